"""Models of every kind in files, each served by `edge-runtime serve` in this process."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from onnx import helper

from edge_runtime.standalone_server import serve_standalone
from networks import ONNX_TYPES, info, model_of


def echo(*datatypes: str) -> bytes:
    """For each datatype an input of any shape with two dimensions, and an equal output."""
    return model_of(
        [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in datatypes],
        [info(f"in_{name}", "N", "M", datatype=name) for name in datatypes],
        [info(f"out_{name}", "N", "M", datatype=name) for name in datatypes],
    )


def calculator() -> bytes:
    """Two inputs with an open first dimension; their sum and their difference."""
    a, b, total, less = (info(n, "N", 3) for n in ("a", "b", "sum", "difference"))
    return model_of(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        [a, b],
        [total, less],
    )


@dataclass(frozen=True, slots=True)
class Served:
    """The addresses of a served model, and the printed lines."""

    http: int
    grpc: int
    uds: Path
    said: str
    stop: Callable[[], None]


@contextmanager
def serving(model: bytes, folder: Path, name: str = "m", **more: Any) -> Iterator[Served]:
    """Serves a model in a separate thread like the command; `more` is passed to `serve_standalone`."""
    (folder / "model.onnx").write_bytes(model)
    with serving_path(folder / "model.onnx", folder / "uds", name, **more) as served:
        yield served


@contextmanager
def serving_path(path: Path, uds: Path, name: str = "m", **more: Any) -> Iterator[Served]:
    """Serves a file or a folder of models like `serving`."""
    turn = sys.getswitchinterval()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, str]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        await serve_standalone(
            path,
            stop,
            name=name,
            host="127.0.0.1",
            http_port=0,
            grpc_port=0,
            threads=1,
            uds=uds,
            say=lambda text: started.set_result((loop, stop, text)),
            **more,
        )

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        loop, stop, said = started.result(180)
        http, grpc = (int(said.split(f"{kind} on 127.0.0.1:")[1].split(",")[0]) for kind in ("HTTP", "gRPC"))

        def end() -> None:
            with suppress(RuntimeError):  # it ended by itself
                loop.call_soon_threadsafe(stop.set)

        yield Served(http, grpc, uds, said, end)
        end()
    finally:
        thread.join(30)
        sys.setswitchinterval(turn)  # set for the process, which tests share
        gc.unfreeze()
    assert not thread.is_alive(), "it did not stop"


Serve = Callable[..., Served]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Serves a model until the tests end; the same model with the same arguments once."""
    known: dict[tuple[bytes, str], Served] = {}
    with ExitStack() as stack:

        def start(model: bytes, **more: Any) -> Served:
            key = model, repr(more)
            if key not in known:
                known[key] = stack.enter_context(serving(model, tmp_path_factory.mktemp("alone"), **more))
            return known[key]

        yield start


@pytest.fixture
def serve_with(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serves a model until the test ends, with arguments of `serve_standalone`."""
    with ExitStack() as stack:
        yield lambda model, **more: stack.enter_context(serving(model, tmp_path, **more))


ServeFolder = Callable[[Path], AbstractContextManager[Served]]


@pytest.fixture
def serve_folder(tmp_path: Path) -> ServeFolder:
    """Serves the models of a folder while a block runs."""
    return lambda folder: serving_path(folder, tmp_path / "uds")


@pytest.fixture(scope="session")
def everything(serve: Serve) -> Served:
    """All datatypes but BF16, which onnxruntime does not return together with strings."""
    return serve(echo(*(name for name in ONNX_TYPES if name != "BF16")))


@pytest.fixture(scope="session")
def halves(serve: Serve) -> Served:
    return serve(echo("FP16", "BF16", "FP32"))


@pytest.fixture(scope="session")
def sums(serve: Serve) -> Served:
    return serve(calculator())
