"""A model store, a remote runtime, a link that can fail, and an edge runtime: all real, all on loopback."""

from __future__ import annotations

import argparse
import asyncio
import copy
import itertools
import json
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from benchmarks.runtime.callers import Caller, Reply
from edge_runtime.server import run
from edge_runtime.store.app import StoreApp
from edge_runtime.store.serving import store_server
from loops import in_thread
from waiting import until

Document = dict[str, Any]
_PORTS = itertools.count(20000 + os.getpid() % 8000)


def free_port() -> int:
    """A port to listen on, outside of the range that the machine uses for connections."""
    while True:
        port = next(_PORTS)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def call(method: str, url: str, body: object = None) -> Any:
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())


class FaultyLink:
    """A proxy to one port that can hang, refuse, close or truncate a response.

    `rate` is bytes a second, None for no limit. `delay` is how many seconds responses are delayed.
    """

    def __init__(self, target: int) -> None:
        self.target, self.port, self.mode = target, free_port(), "pass"
        self.rate: float | None = None
        self.delay = 0.0
        self.held = self.taken = 0
        self._serving = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def main(self, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        await stop.wait()
        server.close()
        self.mode = "break"
        for writer in list(self._writers):
            writer.transport.abort()
        while self._serving:  # noqa: ASYNC110 - its tasks end by themselves
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving += 1
        self._writers.add(writer)
        try:
            if self.mode == "refuse":
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(far_writer)
            try:
                await asyncio.gather(
                    self._pump(reader, far_writer, True), self._pump(far_reader, writer, False)
                )
            finally:
                self._writers.discard(far_writer)
                far_writer.transport.abort()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
            self._serving -= 1

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outward: bool) -> None:
        while data := await reader.read(8192):
            self.held += self.mode == "hang"
            while self.mode == "hang":  # noqa: ASYNC110 - a test changes it from another thread
                await asyncio.sleep(0.05)
            if self.mode in ("break", "refuse"):
                writer.transport.abort()
                raise ConnectionResetError
            self.taken += outward
            if self.mode == "tear" and not outward:
                writer.write(data[: len(data) // 2])
                await writer.drain()
                writer.transport.abort()
                raise ConnectionResetError
            if self.delay and not outward:
                await asyncio.sleep(self.delay)
            if outward and self.rate is not None:
                await asyncio.sleep(len(data) / self.rate)
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


Steps = Mapping[int, Callable[[], None]]


async def _ask(
    port: int, image: Any, count: int, rate: float, patience: float | None, steps: Steps
) -> list[Reply]:
    parameters = {} if patience is None else {"timeout": round(patience * 1e6)}
    caller = Caller(f"http://127.0.0.1:{port}", "digits", "image", image, parameters)
    answered = itertools.count(1)

    async def ask(due: float) -> Reply:
        reply = await caller.ask(due)
        steps.get(next(answered), lambda: None)()
        return reply

    begin = time.monotonic() + 0.05
    try:
        return await asyncio.gather(*[ask(begin + i / rate) for i in range(count)])
    finally:
        caller.close()


async def _sequential(port: int, image: Any, count: int) -> float:
    caller = Caller(f"http://127.0.0.1:{port}", "digits", "image", image)
    begin = time.monotonic()
    try:
        for _ in range(count):
            await caller.ask()
    finally:
        caller.close()
    return count / (time.monotonic() - begin)


class Stack:
    """An edge runtime whose remote stage is behind a link that can fail."""

    def __init__(self, folder: Path, store: str, metadata: Document, stack: ExitStack) -> None:
        self.folder, self.store, self.metadata, self._stack = folder, store, metadata, stack
        self.http, self.grpc, self._far = free_port(), free_port(), free_port()
        self.hop = FaultyLink(self._far)
        self.probe = FaultyLink(int(store.rsplit(":", 1)[1]))

    def slice(self, start: str, end: str) -> Document:
        made: Document = call(
            "POST",
            f"{self.store}/v1/slices",
            {"model": self.metadata["digest"], "inputs": [start], "outputs": [end]},
        )
        return made

    def placement(self, *routes: Document, latency: str = "400ms", **spec: Any) -> Document:
        return {
            "apiVersion": "edge-intelligence.io/v1alpha1",
            "kind": "Placement",
            "metadata": {"name": "digits-edge-a", "namespace": "default", "generation": 1},
            "spec": {
                "service": "digits",
                "node": "edge-a",
                "mode": "Auto",
                "model": {
                    "digest": self.metadata["digest"],
                    "inputs": self.metadata["inputs"],
                    "outputs": self.metadata["exits"][-1]["tensors"],
                },
                "slo": {"latency": latency, "percentile": 95},
                "link": {
                    "peer": "cloud",
                    "probe": f"http://127.0.0.1:{self.probe.port}/v1/probe",
                    "interval": "500ms",
                },
                "routes": list(routes),
                **spec,
            },
        }

    def remote(self, cut: str = "pool1", exit_: str = "final", need: str = "1000") -> Document:
        (output,) = next(e["outputs"] for e in self.metadata["exits"] if e["name"] == exit_)
        head = (
            {"place": "edge-a", "runtime": "Edge", "slice": self.slice("image", cut)}
            if cut != "image"
            else None
        )
        tail = {
            "place": "cloud",
            "runtime": "Triton",
            "address": f"http://127.0.0.1:{self.hop.port}",
            "model": "tail",
            "slice": self.slice(cut, output),
            "predictedCompute": "0.5ms",
        }
        return {
            "name": f"{exit_}@{cut}",
            "exit": exit_,
            "cut": cut,
            "accuracy": 0.97,
            "minBandwidth": need,
            "predictedLatency": "50ms",
            "stages": [s for s in (head, tail) if s is not None],
        }

    def local(self, exit_: str = "exit1") -> Document:
        (output,) = next(e["outputs"] for e in self.metadata["exits"] if e["name"] == exit_)
        return {
            "name": f"{exit_}@local",
            "exit": exit_,
            "cut": "local",
            "accuracy": 0.81,
            "minBandwidth": "0",
            "predictedLatency": "5ms",
            "stages": [{"place": "edge-a", "runtime": "Edge", "slice": self.slice("image", output)}],
        }

    def start(self, placement: Document) -> None:
        """The proxies, the remote runtime that serves the tail, and the edge runtime."""
        self._stack.enter_context(in_thread(self.hop.main))
        self._stack.enter_context(in_thread(self.probe.main))
        tails = [s for r in placement["spec"]["routes"] for s in r["stages"] if "address" in s]
        if tails:
            self._serve("tail", self._far, free_port(), self._far_placement(tails[0]["slice"]), self._stack)
        self.start_edge(placement)

    def start_edge(self, placement: Document | None, store: str | None = None) -> None:
        """The edge runtime alone; without a placement it has only its disk."""
        self._edge = self._stack.enter_context(ExitStack())
        self._serve("digits", self.http, self.grpc, placement, self._edge, store)

    def stop_edge(self) -> None:
        """Stops like SIGTERM does."""
        self._edge.close()

    def _far_placement(self, tail: Document) -> Document:
        far = copy.deepcopy(self.placement(self.local()))
        spec = far["spec"]
        del spec["link"]
        spec["model"] |= {"inputs": tail["inputs"], "outputs": tail["outputs"]}
        spec["routes"][0]["stages"][0]["slice"] = tail
        return far

    def place(self, placement: Document) -> None:
        """Replaces the edge runtime's placement."""
        (self.folder / "digits.json").write_text(json.dumps(placement))

    def _serve(
        self,
        service: str,
        http: int,
        grpc: int,
        placement: Document | None,
        cleanup: ExitStack,
        store: str | None = None,
    ) -> None:
        file = self.folder / f"{service}.json"
        file.unlink(missing_ok=True)
        if placement is not None:
            file.write_text(json.dumps(placement))
        arguments = argparse.Namespace(
            service=service,
            namespace="default",
            node="edge-a",
            store=store or self.store,
            store_token_file=None,
            node_cache=None,
            cache_dir=self.folder / f"cache-{service}",
            host="127.0.0.1",
            http_port=http,
            grpc_port=grpc,
            placement_file=file,
            from_disk=False,
            uds=None,
            health_port=None,
            threads=1,
            max_batch=8,
            memory_limit=None,
            stuck_after=30.0,
            grace=6.0,
            trial_seconds=60.0,
            shared_memory=None,
            shared_memory_owner=[],
        )
        cleanup.enter_context(in_thread(lambda stop: run(arguments, stop, drain=0.0)))
        until(lambda: self.is_ready(http), lambda: f"{service} on {http}")

    def is_ready(self, port: int | None = None) -> bool:
        try:
            return bool(call("GET", f"http://127.0.0.1:{port or self.http}/v2/health/ready")["ready"])
        except OSError:
            return False

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as response:
            text: str = response.read().decode()
        return text

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        found = [line for line in self.metrics().splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def wait(self, condition: Callable[[], bool], within: float = 60.0) -> None:
        """Waits for a condition; on a timeout, shows the metrics."""
        until(condition, self.metrics, within)

    def infer(self, image: Any) -> Document:
        """One request as JSON, like curl's."""
        given = {
            "name": "image",
            "shape": list(image.shape),
            "datatype": "FP32",
            "data": image.ravel().tolist(),
        }
        answer: Document = call(
            "POST", f"http://127.0.0.1:{self.http}/v2/models/digits/infer", {"inputs": [given]}
        )
        return answer

    def ask(
        self,
        image: Any,
        count: int,
        rate: float,
        patience: float | None = None,
        steps: Steps = MappingProxyType({}),
    ) -> list[Reply]:
        """This many requests, one each 1/rate seconds without waiting for earlier responses.

        steps: called after this many responses.
        """
        return asyncio.run(_ask(self.http, image, count, rate, patience, steps))

    def rate(self, image: Any, most: float) -> float:
        """A quarter of the requests a second that are answered now one after another, at most `most`."""
        return min(most, asyncio.run(_sequential(self.http, image, 50)) / 4)

    def wait_for_route(self, image: Any, route: str, within: float = 60.0) -> None:
        """Sends requests until this route responds."""
        seen: list[str] = []

        def answered() -> bool:
            seen.append(self.infer(image)["parameters"]["route"])
            return seen[-1] == route

        until(answered, lambda: f"{seen[-5:]}, bandwidth {self.metric('edge_link_bandwidth_bits')}", within)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A model store's address."""
    server = store_server(StoreApp(tmp_path_factory.mktemp("store"), 1 << 24), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, lambda: "the store did not start")
    yield f"http://127.0.0.1:{server.ports[0]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="session")
def metadata(store: str, chain_model: bytes) -> Document:
    call("PUT", f"{store}/v1/files/digits.onnx", chain_model)
    made: Document = call("POST", f"{store}/v1/models", {"storageUri": "store://digits.onnx"})
    return made


@pytest.fixture
def stack(tmp_path: Path, store: str, metadata: Document) -> Iterator[Stack]:
    """Not started yet: `start` takes the placement."""
    with ExitStack() as cleanup:
        yield Stack(tmp_path, store, metadata, cleanup)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, store: str, metadata: Document) -> Iterator[Stack]:
    """Serves the full model at this node, for tests that change nothing."""
    with ExitStack() as cleanup:
        stack = Stack(tmp_path_factory.mktemp("served"), store, metadata, cleanup)
        stack.start(stack.placement(stack.local("final")))
        yield stack
