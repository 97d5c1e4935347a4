"""Measures the cost of switching tables under load, and the delay of a switch after a bandwidth drop.

Run alone: `.venv/bin/python -m benchmarks.runtime.switching [--quick]`. Two tables, each of one real
onnxruntime model, alternate; callers in this process send requests without pauses. A response that differs in
any bit from that of the table that it names counts as mixed. Periods with switches alternate with equally
long ones without. `heavy` is the same with a first route of 48 MB in each table, which serves the requests.

`longest_gap_ms` is the longest gap between two responses over all switches. Compare it with that of the
periods without switches; on a busy machine it is random. `gap_of_a_switch_ms` does not depend on a single
event: for each switch the longest gap from the last response before its request until the new table responds,
as quantiles over the switches. `gap_without_a_switch_ms` is the same for spans of equal length without
switches.
"""

import asyncio
import contextlib
import json
import re
import socket
import sys
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.runtime.commands import Say, command
from benchmarks.runtime.dense_placements import HEAVY, WIDTH, dataplane, network, placement, put, route
from benchmarks.runtime.gaps import Span, Turn, described
from benchmarks.runtime.quantiles import quantile
from edge_runtime.assignment import Placement
from edge_runtime.inference.gc_tuning import tune_for_serving
from edge_runtime.inference.memory import resident
from edge_runtime.requests import InferenceRequest

_BLOCK: Final = 25
_CALLERS: Final = 4
_BATCH: Final = 32
_SLOW, _FAST = 0.5e6, 20e6


def measure(folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """`switches`, `requests`, `failed`, `mixed`, `longest_gap_ms`, `memory_ratio`, `link_step_p99_ms`."""
    say("switching tables under load ...")
    found = asyncio.run(switch_under_load(folder, 50 if quick else 1000))
    say("switching tables of 48 MB under load ...")
    found["heavy"] = asyncio.run(switch_under_load(folder, 4 if quick else 50, heavy=True))
    say("changing the link rate in steps ...")
    try:
        found["link_step_p99_ms"] = asyncio.run(_step(folder, 5 if quick else 100))
    except RuntimeError as error:
        say(str(error))
        found["link_step_p99_ms"] = None
    return {"switching": found}


async def switch_under_load(
    folder: Path, switches: int, answers: int = 20, *, heavy: bool = False
) -> dict[str, object]:
    """Alternates tables, each for a number of responses; returns counts, gaps (ms) and memory (a ratio)."""
    plane, generations, store = dataplane(folder)
    slices = [put(folder, network(seed)) for seed in (1, 2)]
    large = [put(folder, network(seed, *HEAVY)) for seed in (1, 2)] if heavy else []
    x = np.random.default_rng(3).normal(size=(1, WIDTH)).astype(np.float32)
    expected: dict[str, bytes] = {}

    def table(number: int) -> Placement:
        turn = number % 2
        others = [route(f"heavy{turn}", large[turn], "1G")] if heavy else []
        return placement(number, *others, route(f"t{turn}", slices[turn]))

    for i in range(2):
        assert await generations.use(table(i))
        response = await plane.infer(InferenceRequest({"x": x}, ["y"]))
        expected[str(response.parameters["route"])] = response.outputs[0].tobytes()
    names = list(expected)
    assert len(set(expected.values())) == len(names) == 2

    ended = array("d")
    given: Counter[str] = Counter()
    failed = mixed = 0
    stop, arrived = asyncio.Event(), asyncio.Event()

    async def ask() -> None:
        nonlocal failed, mixed
        while not stop.is_set():
            try:
                response = await plane.infer(InferenceRequest({"x": x}, ["y"]))
            except Exception:
                failed += 1
                arrived.set()
                continue
            name = str(response.parameters["route"])
            ended.append(time.perf_counter())
            given[name] += 1
            mixed += response.outputs[0].tobytes() != expected[name]
            arrived.set()
            await asyncio.sleep(0)

    tune_for_serving()  # as `run` does
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
            while given[name] < wanted and not failed:  # each table answers some
                arrived.clear()
                await arrived.wait()
            spans.append((before, len(ended) - 1))
            most = max(most, resident())
        quiet = len(ended)
        requests += quiet - 1 - last
        await asyncio.sleep(time.perf_counter() - begin)
        turns.append(Turn((last, quiet - 1), spans, (quiet, len(ended) - 1)))
    stop.set()
    await asyncio.gather(*callers)
    generations.close()
    await generations.resources.close()
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
    """The next hop and the probe's sink behind a link of `rate` bit/s, which they read unbuffered."""

    def __init__(self) -> None:
        self.rate = _FAST
        self._due = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self) -> socket.socket:
        """A socket whose connections buffer almost nothing."""
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.setblocking(False)  # noqa: FBT003
        return listening

    async def serve(self, listening: socket.socket) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(listening)
                task = asyncio.create_task(self._respond(connection))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _respond(self, connection: socket.socket) -> None:
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
                response = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[%d,10],"data":%s}]}' % (
                    _BATCH,
                    json.dumps([0.0] * 10 * _BATCH).encode(),
                )
                lines = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(response)
                await loop.sock_sendall(connection, lines + response)


async def _step(folder: Path, steps: int) -> float:
    """Returns the p99 in ms from the drop of the link to a fortieth until the local route is active.

    Requests of 32 KiB arrive every 15 ms: one is in flight during the drop or arrives soon after.
    """
    plane, generations, store = dataplane(folder)
    far = _SlowReader()
    listening = far.listen()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    serving = asyncio.create_task(far.serve(listening))
    slice_ = put(folder, network(1))
    routes = (route("far", slice_, "8M", address), route("near", slice_))
    assert await generations.use(placement(1, *routes, probe=address))
    x = np.zeros((_BATCH, WIDTH), np.float32)
    asked: set[asyncio.Task[Any]] = set()
    times: list[float] = []

    async def ask_until(name: str) -> float:
        begin = due = time.perf_counter()
        while plane.active is None or plane.active.route.name != name:
            now = time.perf_counter()
            if now >= due:
                asked.add(asyncio.create_task(plane.infer(InferenceRequest({"x": x}, ["y"]))))
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
        for _ in range(20):  # the estimate of the fast link has settled
            await plane.infer(InferenceRequest({"x": x}, ["y"]))
            await asyncio.sleep(0.005 + 0.0007 * (step % 7))
        far.rate = _SLOW
        times.append(await ask_until("near"))
        await asyncio.gather(*asked)
        asked.clear()
    generations.close()
    await generations.resources.close()
    store.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    listening.close()
    return round(1e3 * quantile(sorted(times), 0.99), 3)


if __name__ == "__main__":
    sys.exit(command("switching", __doc__, measure))
