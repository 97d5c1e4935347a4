"""The event loop: from arrivals to records.

Queues are first come, first served without overtaking, so the start and end of an entry are known when it
joins (Lindley's recursion; for the link in bits carried, not in seconds). Events are only the times at which
other parties learn something: the end of a head or of a transfer, the time at which the fallback must start.
A policy observes a transfer when it ends, not earlier.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf, isfinite, nan
from typing import Any

import numpy as np

from edge_planning_lab.baselines.options import SimulatedCandidates
from edge_planning_lab.baselines.policies import (
    Answer,
    HopOutcome,
    Measurement,
    ObservesHops,
    Policy,
    Request,
)
from edge_planning_lab.simulation.links import Bandwidth
from edge_planning_lab.simulation.queues import SimulatedLink, SimulatedNode
from edge_planning_lab.simulation.records import RequestOutcome, RequestRecords, SimulationRun
from edge_planning_lab.simulation.scenarios import Broken, Scenario, Stream, Uplink

Event = tuple[float, int, Callable[[float, Any], None], Any]


def simulate(scenario: Scenario) -> SimulationRun:
    """Runs until there are no more events; responses after the scenario's duration count as open.

    Deterministic: all randomness is in the arrivals, bandwidths and policies.
    """
    return _Loop(scenario).run()


class _Monitor:
    """The measurements of one node on one link, and the streams that observe them."""

    __slots__ = ("last", "link", "listeners", "node")

    def __init__(self, link: SimulatedLink, node: SimulatedNode) -> None:
        self.link, self.node = link, node
        self.last = -inf
        self.listeners: list[_Source] = []


class _Source:
    __slots__ = (
        "accuracy",
        "bits",
        "deadline",
        "fixed",
        "head",
        "index",
        "link",
        "listener",
        "monitor",
        "node",
        "options",
        "patience",
        "policy",
        "rest",
        "server",
        "state",
        "tail",
        "watts",
    )

    def __init__(
        self, index: int, stream: Stream, node: SimulatedNode, link: SimulatedLink, monitor: _Monitor
    ) -> None:
        options = stream.options
        self.index, self.node, self.link, self.monitor = index, node, link, monitor
        self.server = stream.server
        self.options: SimulatedCandidates = options
        self.policy: Policy[Any] = stream.policy
        self.state: Any = stream.policy.start(options)
        self.listener: ObservesHops[Any] | None = (
            stream.policy if isinstance(stream.policy, ObservesHops) else None
        )
        self.deadline = options.deadline
        self.patience = options.deadline if stream.patience is None else stream.patience
        self.head, self.tail = options.head.tolist(), options.tail.tolist()
        self.fixed, self.bits = options.fixed.tolist(), options.bits.tolist()
        self.accuracy, self.rest = options.accuracy.tolist(), options.rest.tolist()
        self.watts = options.power


class _Job:
    """A request in progress."""

    __slots__ = (
        "answered",
        "arrived",
        "bits",
        "by",
        "choice",
        "due",
        "fallback_computed",
        "joules",
        "source",
        "until",
    )

    def __init__(self, source: _Source, arrived: float) -> None:
        self.source, self.arrived = source, arrived
        self.due = self.until = arrived + source.patience
        self.answered, self.choice, self.by = inf, -1, -1
        self.bits = self.joules = 0.0
        self.fallback_computed = False


class _Loop:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.guard = scenario.guard
        self.count = 0
        down = self._spans(Broken.NODE)
        cuts = self._spans(Broken.LINK)
        self.crashes = self._spans(Broken.SERVER)
        self.nodes = {s.node: SimulatedNode(down.get(s.node, [])) for s in scenario.streams}
        self.links = {
            spec.name: SimulatedLink(
                spec, self._bandwidth(spec, cuts.get(spec.name, [])), cuts.get(spec.name, [])
            )
            for spec in scenario.uplinks
        }
        self.instances = {server.name: [0.0] * server.instances for server in scenario.servers}
        self.monitors: dict[tuple[str, str], _Monitor] = {}
        self.sources: list[_Source] = []
        for index, stream in enumerate(scenario.streams):
            node, link = self.nodes[stream.node], self.links[stream.uplink]
            monitor = self.monitors.setdefault((stream.node, stream.uplink), _Monitor(link, node))
            source = _Source(index, stream, node, link, monitor)
            self.sources.append(source)
            if stream.policy.probes:
                monitor.listeners.append(source)
        self.jobs = [
            _Job(source, float(moment))
            for source, stream in zip(self.sources, scenario.streams, strict=True)
            for moment in stream.arrivals
        ]
        self.heap: list[Event] = []
        for job in self.jobs:
            self._at(job.arrived, self._arrive, job)
        for monitor in self.monitors.values():
            if monitor.listeners:
                self._at(0.0, self._probe, monitor)
        for node in self.nodes.values():
            for until in node.restarts:
                if isfinite(until):
                    self._at(until, self._restart, node)

    def run(self) -> SimulationRun:
        heap = self.heap
        heapify(heap)
        while heap:
            now, _, handler, subject = heappop(heap)
            handler(now, subject)
        return SimulationRun(
            self.scenario,
            self._records(),
            {name: link.probes for name, link in self.links.items()},
            {name: float(link.probes * link.spec.probe_bytes) for name, link in self.links.items()},
        )

    def _spans(self, kind: Broken) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}
        for fault in self.scenario.faults:
            if fault.kind is kind:
                found.setdefault(fault.name, []).append((fault.start, fault.until))
        return {name: sorted(spans) for name, spans in found.items()}

    def _bandwidth(self, spec: Uplink, outages: list[tuple[float, float]]) -> Bandwidth:
        return spec.bandwidth.cut(outages, self.scenario.duration) if outages else spec.bandwidth

    def _at(self, moment: float, handler: Callable[[float, Any], None], subject: Any) -> None:  # noqa: ANN401
        self.count += 1
        heappush(self.heap, (moment, self.count, handler, subject))

    def _arrive(self, now: float, job: _Job) -> None:
        source, node = job.source, job.source.node
        if node.down and node.gone(now, now + 1e-12):
            return
        link = source.link
        backlog = link.backlog(now) if link.waiting else 0.0
        wait = node.free_at - now if node.free_at > now else 0.0
        answer, source.state = source.policy.decide(Request(source.options, wait, backlog), source.state, now)
        index = job.choice = answer.index
        head = source.head[index]
        if head > 0:
            begin = now + wait
            if begin >= job.due:
                return
            node.free_at = done = begin + head
            job.joules += source.watts.computing * head
        else:
            done = now
        if source.bits[index] <= 0:
            job.answered, job.by = done + source.fixed[index], index
        elif done > now:
            self._at(done, self._send, (job, answer))
        else:
            self._send(now, (job, answer))

    def _send(self, now: float, subject: tuple[_Job, Answer]) -> None:
        job, answer = subject
        source, link = job.source, job.source.link
        if source.node.down and source.node.gone(job.arrived, now):
            return
        if answer.fallback is not None:
            rest = source.rest[job.choice][answer.fallback]
            after = source.deadline - rest - self.guard if answer.begin is None else answer.begin
            if isfinite(rest):
                self._at(max(job.arrived + after, now), self._start_fallback, (job, answer, rest))
        job.until = job.due if answer.within is None else min(job.arrived + answer.within, job.due)
        begin, end, crossed, complete = link.send(now, source.bits[job.choice], job.until)
        if end > begin:
            job.bits += crossed
            job.joules += source.watts.sending * (end - begin)
            self._at(end, self._crossed, (job, answer, Measurement(end - begin, crossed, complete)))
        if not complete and source.listener is not None:
            hop = HopOutcome.LATE if job.until > now else HopOutcome.NOTHING
            self._at(max(job.until, now), self._ended, (job, answer, hop))

    def _crossed(self, now: float, subject: tuple[_Job, Answer, Measurement]) -> None:
        job, answer, measurement = subject
        source = job.source
        if source.node.down and source.node.gone(job.arrived, now):
            return
        self._heard(source.monitor, measurement, now)
        if not measurement.complete:
            return
        tail, instances = source.tail[job.choice], self.instances[source.server]
        done = now
        if tail > 0:
            free = heappop(instances)
            done = max(free, now) + tail
            for crash, until in self.crashes.get(source.server, ()):
                if crash < done and now < until:
                    heappush(instances, max(free, until))
                    return
            heappush(instances, done)
        reply = source.link.reply_at(done + source.fixed[job.choice])
        if answer.within is not None and reply > job.until:
            reply = inf
        if source.listener is not None:
            hop = HopOutcome.OK if reply <= job.until else HopOutcome.LATE
            self._at(min(reply, job.until), self._ended, (job, answer, hop))
        if reply < job.answered:
            job.answered, job.by = reply, job.choice

    def _ended(self, now: float, subject: tuple[_Job, Answer, HopOutcome]) -> None:
        job, answer, hop = subject
        source = job.source
        if source.listener is None or (source.node.down and source.node.gone(job.arrived, now)):
            return
        source.state = source.listener.ended(answer, hop, source.state, now)

    def _start_fallback(self, now: float, subject: tuple[_Job, Answer, float]) -> None:
        job, answer, rest = subject
        source, node = job.source, job.source.node
        if job.answered <= now or (node.down and node.gone(job.arrived, now)):
            return
        begin = max(node.free_at, now)
        done = begin + rest
        if done > job.arrived + source.deadline:
            return
        node.free_at = done
        job.fallback_computed = True
        job.joules += source.watts.computing * rest
        held = max(done, min(job.until, job.arrived + source.deadline - self.guard))
        self._at(held, self._stand_in, (job, answer.fallback))

    def _stand_in(self, now: float, subject: tuple[_Job, int]) -> None:
        """Sends the fallback's response, delayed so far since the remote one would be more accurate."""
        job, index = subject
        reply = now + job.source.fixed[index]
        if reply < job.answered:
            job.answered, job.by = reply, index

    def _probe(self, now: float, monitor: _Monitor) -> None:
        link = monitor.link
        spec = link.spec
        if now > self.scenario.duration:
            return
        again = max(monitor.last + spec.probe_every, link.free_at)
        if again > now:
            self._at(again, self._probe, monitor)
            return
        begin, end, crossed, complete = link.send(now, spec.probe_bytes * 8.0, now + spec.probe_within)
        link.probes += 1
        self._at(end, self._probed, (monitor, Measurement(end - begin, crossed, complete, probe=True)))
        self._at(end + spec.probe_every, self._probe, monitor)

    def _probed(self, now: float, subject: tuple[_Monitor, Measurement]) -> None:
        monitor, measurement = subject
        if not (monitor.node.down and monitor.node.gone(now - measurement.seconds, now)):
            self._heard(monitor, measurement, now)

    def _heard(self, monitor: _Monitor, measurement: Measurement, now: float) -> None:
        monitor.last = now
        for source in monitor.listeners:
            source.state = source.policy.observe(measurement, source.state, now)

    def _restart(self, now: float, node: SimulatedNode) -> None:
        """Restarts the node without its previous state."""
        node.free_at = now
        for source in self.sources:
            if source.node is node:
                source.state = source.policy.start(source.options)

    def _records(self) -> RequestRecords:
        jobs = self.jobs
        late = [self._outcome(job) for job in jobs]
        answered = [
            job.answered if found in (RequestOutcome.IN_TIME, RequestOutcome.LATE) else nan
            for job, found in zip(jobs, late, strict=True)
        ]
        by = np.where(np.isnan(answered), -1, np.array([job.by for job in jobs], dtype=np.int64))
        accuracy = [job.source.accuracy[job.by] if job.by >= 0 else 0.0 for job in jobs]
        return RequestRecords(
            stream=np.array([job.source.index for job in jobs], dtype=np.int64),
            arrived=np.array([job.arrived for job in jobs], dtype=np.float64),
            answered=np.array(answered, dtype=np.float64),
            outcome=np.array(late, dtype=np.int64),
            choice=np.array([job.choice for job in jobs], dtype=np.int64),
            by=by.astype(np.int64),
            accuracy=np.where(by >= 0, np.array(accuracy, dtype=np.float64), 0.0),
            bytes=np.array([job.bits / 8 for job in jobs], dtype=np.float64),
            joules=np.array([job.joules for job in jobs], dtype=np.float64),
            fallback_computed=np.array([job.fallback_computed for job in jobs], dtype=np.bool_),
        )

    def _outcome(self, job: _Job) -> RequestOutcome:
        node, end = job.source.node, self.scenario.duration
        if node.down and node.gone(job.arrived, min(job.answered, job.due)):
            return RequestOutcome.LOST
        if min(job.answered, job.due) > end:
            return RequestOutcome.OPEN
        if job.answered > job.due:
            return RequestOutcome.GIVEN_UP
        return (
            RequestOutcome.IN_TIME
            if job.answered <= job.arrived + job.source.deadline
            else RequestOutcome.LATE
        )
