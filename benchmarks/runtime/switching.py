"""Tables are switched under continuous load; a link falls: what that costs, and how soon it is followed.

Run alone: `.venv/bin/python -m benchmarks.runtime.switching [--quick]`. Two tables, each of one real
onnxruntime model, take turns; callers in this process ask without a pause. An answer that is not, bit by bit,
that of the table whose name it carries is counted as mixed. Times with switches and as long without take
turns too. `heavy` is the same with a second route of 48 MB in each table.

`longest_gap_ms` is the one longest gap between two answers of all the switches, and what of it they cause is
the difference to that of the times without: on a machine that does other things a matter of luck. What does
not hang on one moment is `gap_of_a_switch_ms`: of each switch the longest gap from the last answer before it
was asked for until the new table has given its answers, as quantiles over the switches. Beside it,
`gap_without_a_switch_ms`: the same of spans that are as long, in the times without.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import socket
import sys
import time
from array import array
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.runtime.commands import Say, command
from benchmarks.runtime.gaps import Span, Turn, described
from benchmarks.runtime.quantiles import quantile
from edge_runtime.assignment import Placement, parse_placement
from edge_runtime.connections import Resolver
from edge_runtime.dataplane import Dataplane
from edge_runtime.inference.memory import UNLIMITED, Memory, resident
from edge_runtime.inference.pauses import short_pauses
from edge_runtime.metrics import Metrics
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.questions import Question
from edge_runtime.routing.generations import Generations

_WIDTH: Final = 256
_LAYERS: Final = 8
HEAVY: Final = (1024, 13)  # width and layers: 48 MB
_BLOCK: Final = 25
_CALLERS: Final = 4
_BATCH: Final = 32
_SLOW, _FAST = 0.5e6, 20e6
_NOWHERE: Final = "http://127.0.0.1:9"


def measure(folder: Path, say: Say, quick: bool) -> dict[str, object]:
    """`switches`, `requests`, `failed`, `mixed`, `longest_gap_ms`, `memory_ratio`, `link_step_p99_ms`."""
    say("tables take turns under load ...")
    found = asyncio.run(switch_under_load(folder, 50 if quick else 1000))
    say("tables of 48 MB take turns under load ...")
    found["heavy"] = asyncio.run(switch_under_load(folder, 4 if quick else 50, heavy=True))
    say("the link takes steps ...")
    try:
        found["link_step_p99_ms"] = asyncio.run(_step(folder, 5 if quick else 100))
    except RuntimeError as error:
        say(str(error))
        found["link_step_p99_ms"] = None
    return {"switching": found}


def network(seed: int, hidden: int = _WIDTH, layers: int = _LAYERS) -> bytes:
    """Dense layers, [N, 256] -> [N, 10]; about a tenth of a millisecond by default."""
    rng = np.random.default_rng(seed)
    nodes, weights, before = [], [], "x"
    widths = [_WIDTH, *[hidden] * (layers - 1), 10]
    for i, size in enumerate(pairwise(widths)):
        values = rng.normal(scale=0.06, size=size).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{i}"))
        after = "y" if i == layers - 1 else f"h{i}"
        nodes.append(helper.make_node("MatMul", [before, f"w{i}"], [after]))
        before = after
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", _WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def put(folder: Path, data: bytes) -> dict[str, Any]:
    """Puts a slice into the node's cache; how a placement names it."""
    digest = hashlib.sha256(data).hexdigest()
    (folder / "slices").mkdir(parents=True, exist_ok=True)
    (folder / "slices" / digest).write_bytes(data)
    return {
        "digest": f"sha256:{digest}",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, _WIDTH]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 10]}],
    }


def document(generation: int, *routes: dict[str, Any], probe: str = _NOWHERE) -> dict[str, Any]:
    """A placement of these routes, first to last, as the API server has it."""
    interval = "1h" if probe == _NOWHERE else "200ms"
    last = routes[-1]["stages"][0]["slice"]
    spec = {
        "service": "bench",
        "node": "here",
        "mode": "Auto",
        "model": {"digest": last["digest"], "inputs": last["inputs"], "output": last["outputs"][0]},
        "slo": {"latency": "1s"},
        "routes": list(routes),
        "link": {"peer": "cloud", "probe": probe, "interval": interval, "budget": "1Gi"},
    }
    return {"metadata": {"name": "bench-here", "generation": generation}, "spec": spec}


def placement(generation: int, *routes: dict[str, Any], probe: str = _NOWHERE) -> Placement:
    """A placement of these routes, first to last."""
    return parse_placement(document(generation, *routes, probe=probe))


def route(name: str, slice_: dict[str, Any], need: str = "0", far: str = "") -> dict[str, Any]:
    """A route that ends here, or with `far` beyond the link; `need` is its least bandwidth."""
    stage: dict[str, Any] = {"place": "here", "runtime": "Edge", "slice": slice_}
    if far:
        stage = {"place": "cloud", "runtime": "Triton", "slice": slice_, "address": far, "model": "m"}
    return {
        "name": name,
        "exit": name,
        "cut": "x" if far else "local",
        "accuracy": 0.9,
        "minBandwidth": need,
        "predictedLatency": "10ms",
        "stages": [stage],
    }


def dataplane(
    folder: Path, memory: Memory = UNLIMITED, metrics: Metrics | None = None
) -> tuple[Dataplane, Generations, ModelStore]:
    """One whose generations find their slices in the folder, beside a store that is away."""
    resolver = Resolver()
    store = ModelStore(_NOWHERE, resolver)
    cache = SliceCache(folder / "slices", store)
    metrics = metrics or Metrics("bench")
    generations = Generations(cache, metrics, resolver, memory=memory)
    return Dataplane(generations, metrics), generations, store


async def switch_under_load(
    folder: Path, switches: int, answers: int = 20, heavy: bool = False
) -> dict[str, object]:
    """Tables take turns, each for so many answers of its own; counts, gaps (ms) and memory (a ratio)."""
    plane, generations, store = dataplane(folder)
    slices = [put(folder, network(seed)) for seed in (1, 2)]
    large = [put(folder, network(seed, *HEAVY)) for seed in (1, 2)] if heavy else []
    x = np.random.default_rng(3).normal(size=(1, _WIDTH)).astype(np.float32)
    expected: dict[str, bytes] = {}

    def table(number: int) -> Placement:
        turn = number % 2
        others = [route(f"heavy{turn}", large[turn], "1G")] if heavy else []
        return placement(number, *others, route(f"t{turn}", slices[turn]))

    for i in range(2):
        assert await generations.use(table(i))
        answer = await plane.infer(Question({"x": x}, ["y"]))
        expected[str(answer.parameters["route"])] = answer.outputs[0].tobytes()
    names = list(expected)
    assert len(set(expected.values())) == len(names) == 2

    ended = array("d")
    given: Counter[str] = Counter()
    failed = mixed = 0
    stop = asyncio.Event()

    async def ask() -> None:
        nonlocal failed, mixed
        while not stop.is_set():
            try:
                answer = await plane.infer(Question({"x": x}, ["y"]))
            except Exception:
                failed += 1
                continue
            name = str(answer.parameters["route"])
            ended.append(time.perf_counter())
            given[name] += 1
            mixed += answer.outputs[0].tobytes() != expected[name]
            await asyncio.sleep(0)

    short_pauses()  # as `run` does
    callers = [asyncio.create_task(ask()) for _ in range(_CALLERS)]
    await asyncio.sleep(0.5)
    steady = most = resident()
    turns: list[Turn] = []
    requests, taken = 0, []
    for first in range(0, switches, _BLOCK):
        begin, last = time.perf_counter(), len(ended) - 1
        spans: list[Span] = []
        for i in range(first, min(first + _BLOCK, switches)):
            asked, before, name = time.perf_counter(), len(ended) - 1, names[i % 2]
            wanted = given[name] + answers
            assert await generations.use(table(2 + i))
            taken.append(time.perf_counter() - asked)
            while given[name] < wanted and not failed:  # noqa: ASYNC110 - each table answers some
                await asyncio.sleep(0)
            spans.append((before, len(ended) - 1))
            most = max(most, resident())
        quiet = len(ended)
        requests += quiet - 1 - last
        await asyncio.sleep(time.perf_counter() - begin)
        turns.append(Turn((last, quiet - 1), spans, (quiet, len(ended) - 1)))
    stop.set()
    await asyncio.gather(*callers)
    await generations.close()
    store.close()
    return {
        "switches": switches,
        "requests": requests + failed,
        "failed": failed,
        "mixed": mixed,
        **described(ended, turns),
        "switch_p50_ms": round(1e3 * quantile(sorted(taken), 0.5), 3),
        "memory_ratio": round(most / steady, 3),
    }


class _SlowReader:
    """The next hop and the probe's sink behind a link of `rate` bit/s: it reads no faster, into no buffer."""

    def __init__(self) -> None:
        self.rate = _FAST
        self._due = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self) -> socket.socket:
        """A socket whose connections hold hardly anything that was not read."""
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.setblocking(False)
        return listening

    async def serve(self, listening: socket.socket) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(listening)
                task = asyncio.create_task(self._answer(connection))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _answer(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with connection, contextlib.suppress(OSError):
            data = b""
            while True:
                part = await loop.sock_recv(connection, 2048)
                if not part:
                    return
                data += part
                self._due = max(self._due, loop.time()) + 8 * len(part) / self.rate
                await asyncio.sleep(self._due - loop.time())
                head, found, body = data.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                if not found or length is None or len(body) < int(length[1]):
                    continue
                data = b""
                answer = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[%d,10],"data":%s}]}' % (
                    _BATCH,
                    json.dumps([0.0] * 10 * _BATCH).encode(),
                )
                lines = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
                await loop.sock_sendall(connection, lines + answer)


async def _step(folder: Path, steps: int) -> float:
    """From the moment at which the link falls to a fortieth until the local route is active: p99, in ms.

    Requests of 32 KiB come every 15 ms: one is on its way when the link falls, or comes soon after.
    """
    plane, generations, store = dataplane(folder)
    far = _SlowReader()
    listening = far.listen()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    serving = asyncio.create_task(far.serve(listening))
    slice_ = put(folder, network(1))
    routes = (route("far", slice_, "8M", address), route("near", slice_))
    assert await generations.use(placement(1, *routes, probe=address))
    x = np.zeros((_BATCH, _WIDTH), np.float32)
    asked: set[asyncio.Task[Any]] = set()
    times: list[float] = []

    async def ask_until(name: str) -> float:
        begin = due = time.perf_counter()
        while plane.active is None or plane.active.route.name != name:
            now = time.perf_counter()
            if now >= due:
                asked.add(asyncio.create_task(plane.infer(Question({"x": x}, ["y"]))))
                due = now + 0.015
            if now - begin > 20:
                raise RuntimeError(
                    f"no {name} at {far.rate:g} bit/s: {generations.link and generations.link.view()}"
                )
            await asyncio.sleep(0.001)
        return time.perf_counter() - begin

    for step in range(steps):
        far.rate = _FAST
        await ask_until("far")
        for _ in range(20):  # the fast link is well known
            await plane.infer(Question({"x": x}, ["y"]))
            await asyncio.sleep(0.005 + 0.0007 * (step % 7))
        far.rate = _SLOW
        times.append(await ask_until("near"))
        await asyncio.gather(*asked)
        asked.clear()
    await generations.close()
    store.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    listening.close()
    return round(1e3 * quantile(sorted(times), 0.99), 3)


if __name__ == "__main__":
    sys.exit(command("switching", __doc__, measure))
