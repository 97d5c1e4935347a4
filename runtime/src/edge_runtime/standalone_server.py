"""Serves an ONNX file, or the files of a folder, without a cluster: `edge-runtime serve`."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from edge_planning.routing.batches import LARGEST
from edge_runtime.errors import BadRequest
from edge_runtime.example_requests import example, signature
from edge_runtime.grpc.keepalive import DEFAULT, KeepAlive
from edge_runtime.http.addresses import EVERYWHERE, EVERYWHERE_IPV4, bracketed
from edge_runtime.inference.gc_tuning import tune_for_serving
from edge_runtime.inference.runners import STUCK_AFTER, Runner
from edge_runtime.memoization.settings import OFF, MemoizationSettings
from edge_runtime.metrics import Metrics, ProcessMetrics, joint_exposition
from edge_runtime.model_folders import MODEL_NAME, FolderModels
from edge_runtime.samples.flags import NOTHING, Given
from edge_runtime.sequences.flags import WantedState
from edge_runtime.serving import Models
from edge_runtime.shared_memory.regions import NO_SHARED_MEMORY, SharedMemory
from edge_runtime.shutdown import GOODBYE, GRACE, leave_threads_behind, stop_on_signals
from edge_runtime.standalone import LoadedFile, Loading, check_file, load_standalone
from edge_runtime.tls.certificates import Certificates
from edge_runtime.tracing.startup import start
from edge_runtime.transports import Transports
from edge_runtime.trials.admission import SECONDS

if TYPE_CHECKING:
    from edge_runtime.tracing.spans import Spans


def name_of(path: Path, given: str | None) -> str:
    """Model name in requests. Raises BadRequest for a name that cannot be part of a URL path."""
    name = given if given is not None else re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("-._")
    if not MODEL_NAME.fullmatch(name):
        raise BadRequest(f'--name: "{name}" is not a name: use letters, digits, "-", "_" and "."')
    return name


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is served. loaded: the loaded models, of which there can be others later."""

    models: Models
    loaded: Callable[[], list[LoadedFile]]
    process: ProcessMetrics
    exposition: Callable[[], bytes]
    end: Callable[[], None]
    close: Callable[[], None]
    folder: FolderModels | None = None


async def _open_file(path: Path, name: str, how: Loading, spans: Spans | None) -> _Opened | None:
    metrics = spans.metrics(name) if spans is not None else Metrics(name)
    loaded = await load_standalone(path, name, how, metrics)
    if loaded is None:
        return None
    model = loaded.model
    return _Opened(
        loaded.service, lambda: [loaded], metrics.process, metrics.exposition, model.end, model.close
    )


async def _open_folder(path: Path, how: Loading, spans: Spans | None) -> _Opened:
    runner = Runner(largest=how.max_batch, stuck_after=how.stuck_after)
    process = ProcessMetrics("")
    process.running(lambda: runner.running)

    async def load(name: str, file: Path) -> LoadedFile | None:
        metrics = spans.metrics(name, process) if spans is not None else Metrics(name, process)
        return await load_standalone(file, name, replace(how, runner=runner), metrics)

    models = FolderModels(path, load, lambda: runner.stuck)
    await models.start()

    def exposition() -> bytes:
        each = (loaded.metrics.registry for loaded in models.loaded.values())
        return joint_exposition([process.registry, *each])

    def close() -> None:
        models.close()
        runner.close()

    return _Opened(models, lambda: [*models.loaded.values()], process, exposition, runner.end, close, models)


async def serve_standalone(
    path: Path,
    stop: asyncio.Event,
    *,
    name: str,
    host: str,
    http_port: int,
    grpc_port: int,
    threads: int,
    uds: Path | None = None,
    certificates: Certificates | None = None,
    health_port: int | None = None,
    memoization: MemoizationSettings = OFF,
    state: WantedState | None = None,
    memory: SharedMemory = NO_SHARED_MEMORY,
    max_batch: int = LARGEST,
    spans: Spans | None = None,
    given: Given = NOTHING,
    stuck_after: float = STUCK_AFTER,
    grace: float = GRACE,
    trial_seconds: float = SECONDS,
    keepalive: KeepAlive = DEFAULT,
    say: Callable[[str], None] = print,
) -> None:
    """Serves the model in a file, or those in a folder, until `stop`, then finishes requests in flight.

    name: of the model in a file. Models are warmed up on `given`. Raises CannotLoad, BadRequest and
    CannotListen before it reports that it is serving.
    """
    how = Loading(stop, threads, memoization, max_batch, given, stuck_after, trial_seconds, state=state)
    folder = await asyncio.to_thread(path.is_dir)
    opened = await (_open_folder(path, how, spans) if folder else _open_file(path, name, how, spans))
    if opened is None or (folder and not opened.loaded()):
        return
    if certificates is not None:
        opened.process.certificate(lambda: certificates.current.expires)
        certificates.count_failed(opened.process.failed_handshake)
    transports = Transports(
        opened.models,
        opened.exposition,
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        uds=uds,
        certificates=certificates,
        health_port=health_port,
        spans=spans,
        end=opened.end,
        grace=grace,
        keepalive=keepalive,
        repository=opened.folder,
        memory=memory,
    )
    serving = asyncio.create_task(transports.serve())
    tune_for_serving()
    say(_greeting(opened.loaded(), transports, threads, certificates))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    opened.models.draining = True
    await transports.stop()
    stopping.cancel()
    await serving
    opened.close()


def _greeting(
    loaded: list[LoadedFile], transports: Transports, threads: int, certificates: Certificates | None
) -> str:
    """What is served where, and an example of a request."""
    everywhere = transports.host in (EVERYWHERE, EVERYWHERE_IPV4)
    shown = "127.0.0.1" if everywhere else bracketed(transports.host)
    plain = transports.health_port
    health = f"health on {shown}:{plain} without TLS, " if plain is not None else ""
    served = [f"{each.service.name}: {signature(each.contract)}" for each in loaded]
    what = served[0] if len(served) == 1 else f"{len(served)} models:\n  " + "\n  ".join(served) + "\n "
    first, folder = loaded[0], certificates.folder if certificates is not None else None
    address = f"{shown}:{transports.http_port}"
    return (
        f"serving {what}; HTTP on {address}, gRPC on {shown}:{transports.grpc_port}, "
        f"{health}{threads} thread{'s' if threads > 1 else ''}; try:\n"
        f"{example(first.service.name, first.contract.inputs, address, folder)}"
    )


def serve_path(
    path: Path,
    *,
    name: str | None,
    host: str,
    http_port: int,
    grpc_port: int,
    threads: int,
    uds: Path | None,
    certificates: Certificates | None = None,
    health_port: int | None = None,
    max_batch: int = LARGEST,
    memoization: MemoizationSettings = OFF,
    state: WantedState | None = None,
    memory: SharedMemory = NO_SHARED_MEMORY,
    given: Given = NOTHING,
    stuck_after: float = STUCK_AFTER,
    grace: float = GRACE,
    trial_seconds: float = SECONDS,
    keepalive: KeepAlive = DEFAULT,
) -> None:
    """Runs until SIGTERM or SIGINT."""
    folder = path.is_dir()
    if not folder:
        check_file(path)
    elif name is not None:
        raise BadRequest(f'--name: "{name}" names one model, but {path} is a folder: leave it out')
    elif given != NOTHING or state is not None:
        raise BadRequest(
            f"--shape, --input, --samples and --state are for one model, but {path} is a folder: name a file"
        )
    known_as = name_of(path.resolve(), name)

    async def main() -> None:
        spans = start(known_as, os.environ)
        stop = asyncio.Event()
        stop_on_signals(stop, grace + GOODBYE)
        await serve_standalone(
            path,
            stop,
            name=known_as,
            host=host,
            http_port=http_port,
            grpc_port=grpc_port,
            threads=threads,
            uds=uds,
            certificates=certificates,
            health_port=health_port,
            memoization=memoization,
            state=state,
            memory=memory,
            max_batch=max_batch,
            spans=spans,
            given=given,
            stuck_after=stuck_after,
            grace=grace,
            trial_seconds=trial_seconds,
            keepalive=keepalive,
            say=lambda text: print(text, flush=True),
        )
        if spans is not None:
            spans.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    leave_threads_behind()
