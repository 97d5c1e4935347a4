"""One run: the operator's start, rest, changes, and the end of its leader, at one scale on one datastore."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.operator import fleet, histograms
from benchmarks.operator.api_clients import WRITERS, Watches, Writer
from benchmarks.operator.control_plane import OPERATORS, ControlPlane, Program
from benchmarks.operator.fleet import Scale
from benchmarks.operator.observed import ENTRIES, Key
from benchmarks.operator.requests import Log, Request, described
from benchmarks.pool.processes import peak_bytes
from benchmarks.runtime.commands import Say
from benchmarks.runtime.quantiles import quantile
from edge_operator.cluster import INFERENCE_SERVICES
from testbed.errors import NotReadyInTimeError
from testbed.processes import tail
from testbed.progress import step

QUIET_SECONDS: Final = 5.0
"""Without a write of the operator, after which it is at rest."""
PHASES: Final = ("rest", "changes", "takeover", "kopf")
"""What follows the operator's start."""
_CONTROL_PLANE: Final = ("etcd", "kine", "kube-apiserver")
_SAY_SECONDS: Final = 5.0
_TICKS: Final = 100  # of the processor time in procfs, on Linux


@dataclass(frozen=True, slots=True)
class Times:
    """Durations in seconds, and changes per second. limit: of each phase."""

    idle: float = 60.0
    changing: float = 60.0
    taking_over: float = 20.0
    rate: float = 300.0
    limit: float = 1500.0


QUICK: Final = Times(idle=5.0, changing=5.0, taking_over=3.0, rate=30.0, limit=300.0)


class Run:
    """A cluster with its services, and what the benchmark knows of it."""

    def __init__(self, plane: ControlPlane, scale: Scale, times: Times, say: Say) -> None:
        self._plane, self._scale, self._times, self._say = plane, scale, times, say
        self._writer = Writer(plane.ports["api"], plane.folder / "pki", "bench")
        self._watches = Watches(plane.kubeconfig("bench"))
        self._seen = self._watches.observed
        self._log = Log(plane.audit_log)
        keys = [(s["metadata"]["namespace"], s["metadata"]["name"]) for s in fleet.services(scale)]
        self._changes: Iterator[tuple[int, Key]] = (
            (number, key) for number in itertools.count(1) for key in keys
        )
        self._turn = threading.Lock()
        self._changed = 0

    def measured(self, phases: Collection[str]) -> dict[str, object]:
        """Returns the figures of the named phases, and of the first, which always runs."""
        self._fill()
        self._watches.start()
        found: dict[str, object] = {}
        further = {"rest": self._at_rest, "changes": self._under_changes, "takeover": self._taken_over}
        for measure in (self._converged, *(further[each] for each in further if each in phases)):
            part = measure()
            self._say(", ".join(f"{key} {value}" for key, value in part.items()))
            found |= part
        self._watches.stop()
        return found

    def kopf_per_s(self) -> float:
        """Returns the events per second that an empty handler of kopf gets for all services."""
        events = self._plane.folder / "kopf.json"
        with step(self._say, "an empty handler of kopf", announce=True):
            program = self._plane.start_handler(events)
            calls: dict[str, Any] = {}

            def all_seen() -> bool:
                if events.exists():
                    calls.update(json.loads(events.read_text()))
                return int(calls.get("calls", 0)) >= self._scale.services

            self._until(all_seen, lambda: f"{calls.get('calls', 0)} events")
            program.stop()
        return float((calls["calls"] - 1) / (calls["last"] - calls["first"]))

    def _fill(self) -> None:
        scale = self._scale
        with step(self._say, f"create {scale.nodes} nodes, {scale.services} services", announce=True):
            self._writer.create(fleet.namespaces(scale))
            self._writer.create(fleet.nodes(scale))
            self._writer.create(fleet.pools(scale, self._plane.ports["stand-ins"]))
            self._writer.create(fleet.services(scale))

    def _converged(self) -> dict[str, object]:
        leader = OPERATORS[0]
        start, others = time.time(), self._control_plane_cpu()
        program = self._plane.start_operator(leader)
        with step(self._say, "converge", announce=True):
            self._until_settled(lambda: self._seen.ready == self._scale.services)
        requests = [each for each in self._log.update() if each.counts]
        last = max(each.at for each in requests if each.writes)
        self._say(f"requests: {described(requests)}")
        metrics = self._metrics(leader)
        queue = histograms.buckets(metrics, "edge_operator_queue_duration_seconds")
        turns = histograms.buckets(metrics, "edge_operator_reconcile_duration_seconds")
        return {
            "converge_s": round(last - start, 1),
            "queue_p50_s": _rounded(histograms.quantile(queue, 0.5)),
            "queue_p99_s": _rounded(histograms.quantile(queue, 0.99)),
            "reconcile_p99_s": _rounded(histograms.quantile(turns, 0.99)),
            "requests_per_service": round(len(requests) / self._scale.services, 2),
            "writes_per_service": round(sum(r.writes for r in requests) / self._scale.services, 2),
            "memory_mb": round(peak_bytes(program.folder) / 1e6),
            "cpu_s": round(cpu_seconds(program.folder), 1),
            "control_plane_cpu_s": round(self._control_plane_cpu() - others, 1),
        }

    def _at_rest(self) -> dict[str, object]:
        seconds = self._times.idle
        with step(self._say, f"at rest for {seconds:g} s", announce=True):
            start = time.time()
            cpu = cpu_seconds(self._operator(OPERATORS[0]).folder)
            self._until(lambda: time.time() - start >= seconds, lambda: "")
            cpu = cpu_seconds(self._operator(OPERATORS[0]).folder) - cpu
            writes = self._writes_since(start)
        if writes:
            self._say(f"writes at rest: {described(writes)}")
        return {
            "idle_writes_per_min": round(60 * len(writes) / seconds, 1),
            "idle_cpu_share": round(cpu / seconds, 3),
        }

    def _under_changes(self) -> dict[str, object]:
        """Changes the SLO of one service after the other, and waits until all Placements have the last."""
        before = self._metrics(OPERATORS[0])
        program, start = self._operator(OPERATORS[0]), time.time()
        cpu = cpu_seconds(program.folder)
        with step(self._say, f"{self._times.rate:g} changes a second", announce=True):
            seconds = self._change(self._times.changing, lambda: None)
            count = self._changed
        with step(self._say, "the last changes", announce=True):
            self._until_settled(self._all_placed)
        name = "edge_operator_queue_duration_seconds"
        after = self._metrics(OPERATORS[0])
        queue = histograms.since(histograms.buckets(after, name), histograms.buckets(before, name))
        self._say(f"writes: {described(self._writes_since(start))}")
        lags = sorted(self._seen.lags)
        return {
            "changes_per_s": round(count / seconds),
            "change_lag_p50_s": _rounded(quantile(lags, 0.5)),
            "change_lag_p99_s": _rounded(quantile(lags, 0.99)),
            "change_queue_p99_s": _rounded(histograms.quantile(queue, 0.99)),
            "change_cpu_s": round(cpu_seconds(program.folder) - cpu, 1),
        }

    def _taken_over(self) -> dict[str, object]:
        """Kills the leader while one Placement of a service has a change and the other one does not."""
        leader, standby = OPERATORS
        program = self._plane.start_operator(standby)
        with step(self._say, "start a standby", announce=True):
            self._until(lambda: self._is_ready(standby), lambda: tail(program.log, 2))
        start, killed = time.time(), list[float]()
        changes = self._seen.placement_changes
        double = self._found()["double"]

        def kill() -> bool:
            """Kills it once that is possible; returns whether it is dead."""
            if not killed and self._seen.under_way and time.time() - start > self._times.taking_over / 3:
                self._operator(leader).kill()
                killed.append(time.time())
            return bool(killed)

        with step(self._say, "kill the leader under changes", announce=True):
            self._change(self._times.taking_over, kill)
            self._until(kill, lambda: "no change was under way")
            self._until_settled(self._all_placed)
        requests = [each for each in self._log.update() if each.at >= start and each.code < 300]
        first = min(
            each.at for each in requests if each.user == standby and each.writes and each.at >= killed[0]
        )
        applied = sum(r.applies and r.resource == "placements" for r in requests)
        # Of the requests on their way at the end of the leader, some are stored and none is answered.
        stored = self._seen.placement_changes - changes
        double = self._found()["double"] - double + max(0, applied - stored)
        lost = self._scale.services - self._seen.ready + self._seen.waiting + len(self._missing_tails())
        self._say(f"after the take-over: lost {lost}, double {double}; {described(requests)}")
        return {"takeover_s": round(first - killed[0], 1), "lost_or_double_actions": lost + double}

    def _change(self, seconds: float, meanwhile: Callable[[], object]) -> float:
        """Changes services at the rate for so long. Returns the seconds that it took.

        meanwhile: called again and again until the changes are made.
        """
        begun, total = time.monotonic(), round(seconds * self._times.rate)
        self._changed = 0

        def changes() -> None:
            while True:
                with self._turn:
                    if self._changed >= total:
                        return
                    due = begun + self._changed / self._times.rate
                    self._changed += 1
                    number, key = next(self._changes)
                time.sleep(max(0.0, due - time.monotonic()))
                self._seen.sent(key, number, time.monotonic())
                changed = {"spec": {"slo": {"latency": fleet.latency(number)}}}
                self._writer.patch(INFERENCE_SERVICES, key, changed)

        with ThreadPoolExecutor(WRITERS) as threads:
            running = [threads.submit(changes) for _ in range(WRITERS)]
            said = time.monotonic()
            while not all(each.done() for each in running):
                meanwhile()
                time.sleep(0.01)
                if time.monotonic() - said > _SAY_SECONDS:
                    said = time.monotonic()
                    self._say(f"  {self._changed} of {total} changes, {self._seen.waiting} on their way")
            for each in running:
                each.result()
        return time.monotonic() - begun

    def _all_placed(self) -> bool:
        return self._seen.ready == self._scale.services and not self._seen.waiting

    def _missing_tails(self) -> frozenset[str]:
        """Returns what Placements use of Triton servers that is not loaded there."""
        return self._seen.used - frozenset(self._found()["models"])

    def _found(self) -> dict[str, Any]:
        """Returns what the substitutes hold."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._plane.ports['stand-ins']}/found") as response:
            found: dict[str, Any] = json.load(response)
        return found

    def _until_settled(self, settled: Callable[[], bool]) -> None:
        """Waits until it is settled and the operators have written nothing for a while."""

        def at_rest() -> bool:
            if not settled():
                return False
            writes = self._writes_since(0)
            return bool(writes) and time.time() - max(each.at for each in writes) >= QUIET_SECONDS

        self._until(at_rest, self._state)

    def _state(self) -> str:
        seen, writes = self._seen, len(self._writes_since(0))
        placed = f"{len(seen.tails)} of {ENTRIES * self._scale.services} Placements"
        return (
            f"{seen.ready} of {self._scale.services} Ready, {placed}, "
            f"{seen.waiting} changes on their way, {writes} writes"
        )

    def _until(self, done: Callable[[], bool], state: Callable[[], str]) -> None:
        begun = said = time.monotonic()
        while not done():
            self._plane.check()
            now = time.monotonic()
            if now - begun > self._times.limit:
                log = tail(self._plane.running[-1].log, 5)
                raise NotReadyInTimeError(f"not within {self._times.limit:g} s: {state()}: {log}")
            if now - said > _SAY_SECONDS and (shown := state()):
                said = now
                self._say(f"  {shown}")
            time.sleep(0.1)

    def _writes_since(self, start: float) -> list[Request]:
        return [each for each in self._log.update() if each.writes and each.at >= start]

    def _control_plane_cpu(self) -> float:
        """Returns the processor time of the API server and of its datastore."""
        return sum(cpu_seconds(each.folder) for each in self._plane.running if each.name in _CONTROL_PLANE)

    def _operator(self, user: str) -> Program:
        return next(each for each in self._plane.running if each.name == user)

    def _metrics(self, user: str) -> str:
        url = f"http://127.0.0.1:{self._plane.ports[f'{user} metrics']}/metrics"
        with urllib.request.urlopen(url) as response:
            return str(response.read().decode())

    def _is_ready(self, user: str) -> bool:
        try:
            url = f"http://127.0.0.1:{self._plane.ports[f'{user} liveness']}/readyz"
            with urllib.request.urlopen(url) as response:
                return bool(response.status == 200)
        except OSError:
            return False


def cpu_seconds(process: Path) -> float:
    """Returns the processor time of a process. process: its folder in procfs."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
