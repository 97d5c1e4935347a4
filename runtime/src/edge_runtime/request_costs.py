"""Measures the processor time that requests take outside of inference on this machine.

A server as at an entry node, with a model that computes next to nothing, and the client of hops exchange
tensors of two sizes over the loopback. The client's thread is what a hop costs, all other threads of the
process are what a request costs. They are compared with the processors that this machine has to give: a quota
of its cgroup, or of one above it, gives it less than the machine has.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import uvloop

from edge_runtime.assignment import Stage, parse_placement
from edge_runtime.autonomy import LastContact
from edge_runtime.connections import HttpClient, Resolver
from edge_runtime.errors import CannotLoad
from edge_runtime.http.addresses import listening
from edge_runtime.http.servers import Door, HttpServer
from edge_runtime.inference.memory import Memory, cgroup_limit
from edge_runtime.model_store import ModelStore, SliceCache, write_whole
from edge_runtime.placed_services import PlacedService
from edge_runtime.rest.app import RestApp, refuse
from edge_runtime.routing.hops import Hop
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.slice_loading import SliceLoader
from edge_runtime.slicing.tensordata import digest_of
from edge_runtime.tensors import Tensor
from edge_runtime.trials.admission import SECONDS, Trials

SMALL: Final = 1 << 10
LARGE: Final = 1 << 18
"""Bytes of the tensors that are exchanged."""
_NAME: Final = "requests"
_HOST: Final = "127.0.0.1"
_ROUNDS: Final = 4
_LEAST: Final = 5
"""Requests of a round."""
_WITHIN: Final = 60.0
_BLOCK: Final = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class RequestCosts:
    """Processor seconds of a request and of a hop, and more for each byte of their tensors.

    processors: how many a process can use on this machine, as measured; below 1 under a quota.
    """

    processors: float
    receive: float
    receive_byte: float
    hop: float
    hop_byte: float

    def __str__(self) -> str:
        return (
            f"{self.receive * 1e3:.3f} ms + {self.receive_byte * 1e9:.3f} ms/MB, "
            f"hops {self.hop * 1e3:.3f} ms + {self.hop_byte * 1e9:.3f} ms/MB, "
            f"{self.processors:.2f} processors"
        )

    def document(self) -> dict[str, Any]:
        """The costs as in a DeviceProfile."""
        return {
            "processors": max(round(self.processors, 3), 0.001),
            "receiveSeconds": self.receive,
            "receiveSecondsPerByte": self.receive_byte,
            "hopSeconds": self.hop,
            "hopSecondsPerByte": self.hop_byte,
        }


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds of one exchange: of the server, and of the client."""

    served: float
    sent: float


def measure_requests(seconds: float) -> RequestCosts:
    """Exchanges requests of each size for `seconds` and returns what they cost.

    Nothing else may run in this process at the same time. Blocks for about four times `seconds`. Raises
    CannotLoad and CannotListen, and HopFailed or HopLate if the exchange fails.
    """
    with _served() as address:
        return uvloop.run(_exchanged(address, seconds))


def costs_of(small: Spent, large: Spent, processors: float) -> RequestCosts:
    """Returns the line through what exchanges of SMALL and of LARGE bytes take."""
    receive_byte = max(large.served - small.served, 0.0) / (LARGE - SMALL)
    hop_byte = max(large.sent - small.sent, 0.0) / (LARGE - SMALL)
    return RequestCosts(
        processors,
        max(small.served - SMALL * receive_byte, 0.0),
        receive_byte,
        max(small.sent - SMALL * hop_byte, 0.0),
        hop_byte,
    )


def available(seconds: float) -> float:
    """Returns the processor seconds per second that threads that never wait get, over `seconds`."""
    count = len(os.sched_getaffinity(0))
    began, spent = time.perf_counter(), time.process_time()
    until = began + seconds
    with ThreadPoolExecutor(count) as threads:
        for _ in range(count):
            threads.submit(_work, until)
    return (time.process_time() - spent) / (time.perf_counter() - began)


def _work(until: float) -> None:
    while time.perf_counter() < until:
        hashlib.sha256(_BLOCK)  # without the interpreter's lock


@contextmanager
def _served() -> Iterator[str]:
    """Serves a model that computes next to nothing as an entry node does; yields the address."""
    started: Future[HttpServer] = Future()

    def run(folder: Path) -> None:
        try:
            uvloop.run(_serve(folder, started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    with TemporaryDirectory() as folder:
        thread = threading.Thread(target=run, args=(Path(folder),), daemon=True)
        thread.start()
        server = started.result()
        try:
            yield f"http://{_HOST}:{server.ports[0]}"
        finally:
            server.should_exit = True
            thread.join()


async def _serve(folder: Path, started: Future[HttpServer]) -> None:
    store = ModelStore(f"http://{_HOST}")  # nothing is fetched
    slices = SliceCache(folder / "slices", store)
    data = _model()
    write_whole(slices.path(digest_of(data)), data)
    memory = Memory(cgroup_limit())
    loader = SliceLoader(slices, Trials(None, memory, 1, SECONDS), 1, memory)
    resources = NodeResources(loader, Resolver())
    placed = PlacedService(_NAME, folder, store, resources, LastContact(folder / "last-word"))
    try:
        if not await placed.generations.use(parse_placement(_placement(data))):
            raise CannotLoad(f"requests cannot be measured: {placed.generations.message}")
        app = RestApp(placed.service, placed.metrics.exposition)
        server = HttpServer([Door(app, listening(_HOST, 0))], refuse)
        started.set_result(server)
        await server.serve()
    finally:
        placed.close()
        await resources.close()


async def _exchanged(address: str, seconds: float) -> RequestCosts:
    """Measures in rounds, like slices, so that a passing load disturbs one of them."""
    client = HttpClient(address)
    hop = Hop(_stage(address), client, None)
    rounds: dict[int, list[Spent]] = {SMALL: [], LARGE: []}
    processors = []
    try:
        for _ in range(_ROUNDS):
            for size, found in rounds.items():
                found.append(await _round(hop, size, seconds / _ROUNDS))
            processors.append(available(2 * seconds / _ROUNDS))
    finally:
        client.close()
    small, large = (
        Spent(median(one.served for one in found), median(one.sent for one in found))
        for found in rounds.values()
    )
    return costs_of(small, large, median(processors))


async def _round(hop: Hop, size: int, seconds: float) -> Spent:
    arrays = [np.zeros((1, size // 4), np.float32)]
    await hop.infer(arrays, _WITHIN)
    count, until = 0, time.perf_counter() + seconds
    process, thread = time.process_time(), time.thread_time()
    while count < _LEAST or time.perf_counter() < until:
        await hop.infer(arrays, _WITHIN)
        count += 1
    thread, process = time.thread_time() - thread, time.process_time() - process
    return Spent((process - thread) / count, thread / count)


def _model() -> bytes:
    """A model that returns the first number of each row of its input."""
    from onnx import TensorProto, helper

    ends = (("first", 0), ("end", 1), ("axis", 1))
    graph = helper.make_graph(
        [helper.make_node("Slice", ["x", "first", "end", "axis"], ["y"])],
        _NAME,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "size"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in ends],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = made.SerializeToString()
    return data


def _placement(data: bytes) -> dict[str, Any]:
    """The Placement of the model at this node, with a single route that is never late."""
    sliced = _slice(data)
    stage = {"place": "here", "runtime": "Edge", "slice": sliced}
    route = {
        "name": "full@local",
        "exit": "full",
        "cut": "local",
        "accuracy": 1.0,
        "minBandwidth": "0",
        "predictedLatency": "1ms",
        "stages": [stage],
    }
    model = {"digest": sliced["digest"], "inputs": sliced["inputs"], "output": sliced["outputs"][0]}
    spec = {
        "service": _NAME,
        "node": "here",
        "model": model,
        "slo": {"latency": f"{_WITHIN:g}s"},
        "routes": [route],
    }
    return {"metadata": {"name": _NAME, "namespace": "default", "generation": 1}, "spec": spec}


def _slice(data: bytes) -> dict[str, Any]:
    return {
        "digest": digest_of(data),
        "inputs": [Tensor("x", "FP32", (-1, -1)).metadata()],
        "outputs": [Tensor("y", "FP32", (-1, 1)).metadata()],
    }


def _stage(address: str) -> Stage:
    """The hop to it."""
    return Stage.model_validate(
        {
            "place": "here",
            "runtime": "Edge",
            "address": address,
            "model": _NAME,
            "slice": _slice(_model()),
        }
    )
