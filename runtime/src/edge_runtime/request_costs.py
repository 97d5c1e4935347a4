"""Measures the processor time that requests take outside of inference on this machine.

A server as at an entry node, with a model that computes next to nothing, and the client of hops exchange
tensors of two sizes over the loopback, as requests and as responses. The client's thread is what a hop costs,
all other threads of the process are what a request costs. They are compared with the processors that this
machine has to give: a quota of its cgroup, or of one above it, gives it less than the machine has.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
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
LARGE: Final = 1 << 20
"""Bytes of the tensors that are exchanged. Plans apply the difference to images and to their results."""
_NAME: Final = "requests"
_HOST: Final = "127.0.0.1"
_ROUNDS: Final = 12
_LEAST: Final = 5
"""Requests of a round."""
_WITHIN: Final = 60.0
_BLOCK: Final = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class RequestCosts:
    """Processor seconds of a request and of a hop, and more for each byte of their tensors.

    processors: how many a process can use on this machine, as measured; below 1 under a quota. receive_byte,
    hop_byte: of a request, to receive and to send it. respond_byte, reply_byte: of a response, to write and
    to read it.
    """

    processors: float
    receive: float
    receive_byte: float
    hop: float
    hop_byte: float
    respond_byte: float
    reply_byte: float

    def __str__(self) -> str:
        return (
            f"{self.receive * 1e3:.3f} ms + {self.receive_byte * 1e9:.3f} ms/MB, "
            f"responses {self.respond_byte * 1e9:.3f} ms/MB, "
            f"hops {self.hop * 1e3:.3f} ms + {self.hop_byte * 1e9:.3f} ms/MB, "
            f"their responses {self.reply_byte * 1e9:.3f} ms/MB, "
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
            "respondSecondsPerByte": self.respond_byte,
            "replySecondsPerByte": self.reply_byte,
        }


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds of one exchange: of the server, and of the client."""

    served: float
    sent: float


def measure_requests(seconds: float) -> RequestCosts:
    """Exchanges requests and responses of each size for `seconds` and returns what they cost.

    Nothing else may run in this process at the same time. Blocks for about five times `seconds`. Raises
    CannotLoad and CannotListen, and HopFailed or HopLate if the exchange fails.
    """
    with _served() as address:
        return uvloop.run(_exchanged(address, seconds))


def costs_of(small: Spent, request: Spent, response: Spent, processors: float) -> RequestCosts:
    """Returns the lines through what exchanges of SMALL and of LARGE bytes take.

    request, response: the exchanges of which that is large.
    """
    receive_byte, respond_byte = (
        max(each.served - small.served, 0.0) / (LARGE - SMALL) for each in (request, response)
    )
    hop_byte, reply_byte = (
        max(each.sent - small.sent, 0.0) / (LARGE - SMALL) for each in (request, response)
    )
    return RequestCosts(
        processors,
        max(small.served - SMALL * receive_byte, 0.0),
        receive_byte,
        max(small.sent - SMALL * hop_byte, 0.0),
        hop_byte,
        respond_byte,
        reply_byte,
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
    """Measures in rounds, like slices, so that a passing load disturbs some of them.

    Other programs only add to the processor time of an exchange, by what they displace from caches. A
    difference of two exchanges, over their bytes, would be mostly that: the lower quartile counts.
    """
    client = HttpClient(address)
    hop = Hop(_stage(address), client, None)
    rounds: dict[tuple[int, int], list[Spent]] = {(SMALL, 4): [], (LARGE, 4): [], (SMALL, LARGE): []}
    processors = []
    try:
        for _ in range(_ROUNDS):
            for sizes, found in rounds.items():
                found.append(await _round(hop, *sizes, seconds / _ROUNDS))
            processors.append(available(2 * seconds / _ROUNDS))
    finally:
        client.close()
    small, request, response = (
        Spent(_quartile(one.served for one in found), _quartile(one.sent for one in found))
        for found in rounds.values()
    )
    return costs_of(small, request, response, median(processors))


def _quartile(seconds: Iterable[float]) -> float:
    return sorted(seconds)[_ROUNDS // 4]


async def _round(hop: Hop, size: int, response: int, seconds: float) -> Spent:
    """Exchanges requests and responses of so many bytes."""
    arrays = [np.full((1, size // 4), response // 4, np.float32)]
    await hop.infer(arrays, _WITHIN)
    count, until = 0, time.perf_counter() + seconds
    process, thread = time.process_time(), time.thread_time()
    while count < _LEAST or time.perf_counter() < until:
        await hop.infer(arrays, _WITHIN)
        count += 1
    thread, process = time.thread_time() - thread, time.process_time() - process
    return Spent((process - thread) / count, thread / count)


def _model() -> bytes:
    """A model that returns the first number of its input as often as that number says."""
    from onnx import TensorProto, helper

    ends = (("first", 0), ("end", 1), ("axis", 1))
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["x", "first", "end", "axis"], ["number"]),
            helper.make_node("Reshape", ["number", "row"], ["wanted"]),
            helper.make_node("Cast", ["wanted"], ["count"], to=TensorProto.INT64),
            helper.make_node("Concat", ["end", "count"], ["shape"], axis=0),
            helper.make_node("Expand", ["number", "shape"], ["y"]),
        ],
        _NAME,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "size"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "count"])],
        [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in (*ends, ("row", -1))],
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
        "outputs": [Tensor("y", "FP32", (-1, -1)).metadata()],
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
