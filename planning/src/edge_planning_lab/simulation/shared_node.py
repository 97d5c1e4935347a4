"""Several services at one entry node, which share its inference queue and uplink, as the runtime runs them.

The decisions are those of the runtime: admission and route by the queue and the deadline
(`edge_planning.routing`), the order of the queue (`edge_planning.routing.batches`), the limits of a hop and
its fallback. A client gives up at its deadline; what waits for it is then not computed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from heapq import heappop, heappush
from math import nan

import numpy as np
import numpy.typing as npt

from edge_planning import RouteTable
from edge_planning.links.estimates import LinkView, growth_at
from edge_planning.routing.breakers import may_try, tried
from edge_planning.routing.deadlines import (
    Allowance,
    DeadlineAction,
    Times,
    allowance,
    head_due,
    latest,
    queue_too_long,
    too_busy,
    usable,
)
from edge_planning.routing.routes import RouteRequest, best, carries, chance, decide, route_to_test
from edge_planning_lab.baselines.options import SimulatedCandidates
from edge_planning_lab.baselines.policies import HopOutcome, Measurement
from edge_planning_lab.simulation.links import Floats
from edge_planning_lab.simulation.node_queue import Inference, NodeQueue, Started
from edge_planning_lab.simulation.product import ConstantTime, ProductPolicy, ProductState, SentAnswer
from edge_planning_lab.simulation.queues import SimulatedLink
from edge_planning_lab.simulation.scenarios import Uplink

Beyond = Callable[[float], bool]


class SharedOutcome(IntEnum):
    """How a request ended. REFUSED: at once, since no route would be in time."""

    IN_TIME = 1
    LATE = 2
    REFUSED = 3


@dataclass(frozen=True, slots=True, eq=False)
class SharedService:
    """A service at the node. beyond: counts a request at a time, and returns whether it exceeds the rate that
    the table is planned for.
    """

    name: str
    options: SimulatedCandidates
    table: RouteTable
    arrivals: Floats
    beyond: Beyond = lambda _: False


@dataclass(frozen=True, slots=True, eq=False)
class SharedRun:
    """Columns [requests], by service and arrival.

    Attributes:
        service: Index of the service.
        answered: Time of the response in seconds; NaN without one in time.
        accuracy: Of the response; 0 without one in time.
        by: The candidate that responded; -1 if none did.
        fallback: Whether that was a fallback.
    """

    service: npt.NDArray[np.int64]
    arrived: Floats
    answered: Floats
    accuracy: Floats
    by: npt.NDArray[np.int64]
    outcome: npt.NDArray[np.int64]
    fallback: npt.NDArray[np.bool_]


def simulate_shared(services: Sequence[SharedService], uplink: Uplink, duration: float) -> SharedRun:
    """Runs until there are no more events. Deterministic. duration: seconds in which the link is probed."""
    return _Loop(services, uplink, duration).run()


class _Service:
    def __init__(self, number: int, given: SharedService) -> None:
        self.number, self.options, self.beyond = number, given.options, given.beyond
        self.deadline = given.options.deadline
        self.policy = ProductPolicy(given.table)
        self.state: ProductState = self.policy.start(given.options)
        self.predicted = [route.latency for route in given.table.routes]
        self.local = [k for k, one in enumerate(self.state.requirements) if not one.remote]
        heads = [
            sorted({float(h) for h in given.options.head[given.options.of_exit(e)]})
            for e in given.options.exit
        ]
        self.heads = [tuple(found) for found in heads]

    def head(self, route: int) -> float:
        return float(self.options.head[self.state.index[route]])

    def rest(self, route: int, local: int) -> float:
        return float(self.options.rest[self.state.index[route], self.state.index[local]])

    def ends(self, route: int, begun: int | None = None) -> tuple[float, ...]:
        """Returns the seconds after which each operator of a route ends, from the start of its run.

        begun: the route whose head was computed before.
        """
        index = self.state.index[route]
        before = self.head(begun) if begun is not None else 0.0
        skipped = max((h for h in self.heads[index] if h <= before * (1 + 1e-12)), default=0.0)
        return tuple(h - skipped for h in self.heads[index] if h > skipped)

    def fallback(self, route: int, left: float) -> int | None:
        """Returns the most accurate local route that takes `left` seconds at most, else the last one."""
        fitting = (k for k in self.local if self.rest(route, k) <= left)
        return next(fitting, self.local[-1] if self.local else None)

    def fallbacks(self, left: float, wait: float) -> list[tuple[float, float] | None]:
        """Returns the worth and the seconds of each route's fallback."""
        found: list[tuple[float, float] | None] = []
        for k, requirement in enumerate(self.state.requirements):
            local = self.fallback(k, latest(left) - wait - self.head(k)) if requirement.remote else None
            found.append(
                None if local is None else (self.state.requirements[local].worth, self.rest(k, local))
            )
        return found

    def least(self, view: LinkView, blocked: set[int]) -> float | None:
        """Returns the seconds of the fastest route from its turn at the node; None if one needs no turn."""
        found: list[float] = []
        for k, requirement in enumerate(self.state.requirements):
            if not requirement.remote:
                found.append(requirement.here)
                continue
            if k in blocked or not carries(view, requirement):
                continue
            if requirement.here == 0:
                return None
            found.append(max(self.predicted[k], requirement.here))
        return min(found, default=None)


class _Job:
    """A request in progress."""

    def __init__(self, service: _Service, arrived: float) -> None:
        self.service, self.arrived = service, arrived
        self.gives_up = arrived + service.deadline
        self.due = arrived + usable(service.deadline)
        self.beyond = self.ended = False
        self.outcome, self.answered, self.by, self.stood_in = SharedOutcome.LATE, nan, -1, False
        self.inference: Inference | None = None
        self.hop_failed = self.computed = False


@dataclass(frozen=True, slots=True)
class _Sent:
    """A hop. until: time at which it is aborted. fallback: the local route in its place, if any."""

    route: int
    answer: SentAnswer
    until: float
    fallback: int | None


class _Loop:
    def __init__(self, services: Sequence[SharedService], uplink: Uplink, duration: float) -> None:
        self.services = [_Service(number, given) for number, given in enumerate(services)]
        self.link, self.node = SimulatedLink(uplink, uplink.bandwidth, []), NodeQueue()
        self.spec, self.duration, self.measured = uplink, duration, -uplink.probe_every
        self.heap: list[tuple[float, int, Callable[[float], None]]] = []
        self.count = 0
        self.jobs: list[_Job] = []
        for service, given in zip(self.services, services, strict=True):
            for moment in given.arrivals.tolist():
                job = _Job(service, moment)
                self.jobs.append(job)
                self._at(moment, lambda now, job=job: self._arrive(now, job))  # type: ignore[misc]
        self._at(0.0, self._probe)

    def run(self) -> SharedRun:
        while self.heap:
            now, _, handler = heappop(self.heap)
            handler(now)
        jobs = self.jobs
        in_time = [job.outcome is SharedOutcome.IN_TIME for job in jobs]
        accuracy = [
            float(job.service.options.accuracy[job.by]) if ok else 0.0
            for job, ok in zip(jobs, in_time, strict=True)
        ]
        return SharedRun(
            service=np.array([job.service.number for job in jobs], dtype=np.int64),
            arrived=np.array([job.arrived for job in jobs]),
            answered=np.array([job.answered for job in jobs]),
            accuracy=np.array(accuracy),
            by=np.array([job.by for job in jobs], dtype=np.int64),
            outcome=np.array([job.outcome for job in jobs], dtype=np.int64),
            fallback=np.array([job.stood_in for job in jobs], dtype=np.bool_),
        )

    def _at(self, moment: float, handler: Callable[[float], None]) -> None:
        self.count += 1
        heappush(self.heap, (moment, self.count, handler))

    def _view(self, service: _Service, now: float) -> LinkView:
        estimate, backlog = service.state.estimate, self.link.backlog(now)
        return LinkView(service.state.up, estimate.rate, estimate.ranked, growth_at(estimate, now), backlog)

    def _arrive(self, now: float, job: _Job) -> None:
        service, view = job.service, self._view(job.service, now)
        state = service.state
        blocked = set() if state.breaker.closed else {k for k, c in enumerate(state.requirements) if c.remote}
        least = service.least(view, blocked)
        job.beyond = service.beyond(now)
        wait = self.node.wait_before(now, job.due, least or 0.0, beyond=job.beyond)
        if least is not None and queue_too_long(wait, least, usable(service.deadline)):
            job.outcome, job.ended = SharedOutcome.REFUSED, True
            return
        route, answer = self._choose(now, job, view, blocked, wait)
        self._at(job.gives_up, lambda now: self._give_up(now, job))
        if not service.state.requirements[route].remote:
            self._compute(now, job, route, job.due, lambda now: self._respond(now, job, route))
        elif service.head(route) > 0:
            due = job.arrived + head_due(service.deadline, service.predicted[route] - service.head(route))
            self._compute(now, job, route, due, lambda now: self._send(now, job, route, answer))
        else:
            self._send(now, job, route, answer)

    def _choose(
        self, now: float, job: _Job, view: LinkView, blocked: set[int], wait: float
    ) -> tuple[int, tuple[bool, float]]:
        """Returns the route, whether it tests a hop whose breaker is open, and its chance."""
        service, state = job.service, job.service.state
        request = RouteRequest(service.deadline, 0.0, (), service.fallbacks(service.deadline, 0.0))
        alone = replace(view, backlog=0.0)
        chosen, route_state = decide(state.requirements, alone, state.route, now, blocked, request)
        state = replace(state, route=route_state)
        if wait > 0 or view.backlog > 0 or job.beyond:
            fallbacks = service.fallbacks(service.deadline, wait)
            request = replace(request, wait=wait, fallbacks=fallbacks, beyond=job.beyond)
            chosen = best(state.requirements, view, request, blocked)
        trial = False
        if blocked:
            testable = blocked if may_try(state.breaker, now) else set[int]()
            tested = route_to_test(state.requirements, view, request, chosen, service.local, testable)
            if tested is not None:
                chosen, trial = tested, True
                state = replace(state, breaker=tried(state.breaker))
        service.state = state
        return chosen, (trial, chance(state.requirements[chosen], chosen, view, request))

    def _send(self, now: float, job: _Job, route: int, answer: tuple[bool, float]) -> None:
        if job.ended:
            return
        service, (trial, likely) = job.service, answer
        elapsed, predicted = now - job.arrived, service.predicted[route]
        wait = self.node.wait_before(now, job.due, 0.0, beyond=job.beyond)
        fallback = service.fallback(route, latest(service.deadline) - elapsed - wait)
        local = None if fallback is None else ConstantTime(service.rest(route, fallback))
        times = Times(service.deadline, service.deadline, elapsed, predicted, likely)
        allowed = allowance(DeadlineAction.LOCAL_EXIT, times, local)
        index = service.state.index[route]
        sent = _Sent(
            route,
            SentAnswer(index, trial=trial, fair=allowed.fair),
            min(now + allowed.seconds, job.gives_up),
            fallback,
        )
        bits, tail = float(service.options.bits[index]), float(service.options.tail[index])
        view = self._view(service, now)
        idle = not view.backlog
        if too_busy(allowed.seconds, view.wait_for(bits, idle=idle), tail, only=allowed.only, idle=idle):
            self._hop_ended(now, job, sent, HopOutcome.NOTHING)
            return
        if allowed.fallback_in is not None:
            self._at(now + allowed.fallback_in, lambda now: self._stand_in(now, job, sent))
        self._transfer(now, job, sent, allowed, bits)

    def _transfer(self, now: float, job: _Job, sent: _Sent, allowed: Allowance, bits: float) -> None:
        begin, end, crossed, complete = self.link.send(now, bits, sent.until)
        options, index = job.service.options, job.service.state.index[sent.route]
        if end > begin:
            measurement = Measurement(end - begin, crossed, complete)
            self._at(end, lambda now: self._heard(now, measurement))
        reply = end + float(options.tail[index] + options.fixed[index])
        if complete and reply <= sent.until:
            self._at(reply, lambda now: self._replied(now, job, sent))
        else:
            late = HopOutcome.LATE if sent.until > now else HopOutcome.NOTHING
            self._at(max(sent.until, now), lambda now: self._hop_ended(now, job, sent, late))

    def _replied(self, now: float, job: _Job, sent: _Sent) -> None:
        service = job.service
        service.state = service.policy.ended(sent.answer, HopOutcome.OK, service.state, now)
        self._respond(now, job, sent.route)

    def _hop_ended(self, now: float, job: _Job, sent: _Sent, hop: HopOutcome) -> None:
        """The hop has no response in its time: the fallback's is sent as soon as it is computed."""
        service = job.service
        service.state = service.policy.ended(sent.answer, hop, service.state, now)
        job.hop_failed = True
        if job.computed:
            self._stood_in(now, job, sent)
        else:
            self._stand_in(now, job, sent)

    def _stand_in(self, now: float, job: _Job, sent: _Sent) -> None:
        """Starts the fallback."""
        if job.ended or job.inference is not None or sent.fallback is None:
            return
        seconds = job.service.rest(sent.route, sent.fallback)
        ends = job.service.ends(sent.fallback, sent.route)
        job.inference = self.node.add(
            now, seconds, job.due, lambda now: self._stood_in(now, job, sent), ends, beyond=job.beyond
        )
        self._start(now)

    def _stood_in(self, now: float, job: _Job, sent: _Sent) -> None:
        job.computed = True
        if job.hop_failed and sent.fallback is not None:
            job.stood_in = not job.ended
            self._respond(now, job, sent.fallback)

    def _compute(
        self, now: float, job: _Job, route: int, due: float, on_done: Callable[[float], None]
    ) -> None:
        def done(now: float) -> None:
            job.inference = None
            on_done(now)

        service = job.service
        job.inference = self.node.add(
            now, service.head(route), due, done, service.ends(route), beyond=job.beyond
        )
        self._start(now)

    def _start(self, now: float) -> None:
        run = self.node.start(now)
        if run is not None:
            self._at(run.until, lambda now: self._computed(now, run))

    def _computed(self, now: float, run: Started) -> None:
        if not self.node.finish(run):
            return
        if not run.stopped:
            run.inference.on_done(now)
        self._start(now)

    def _respond(self, now: float, job: _Job, route: int) -> None:
        if job.ended:
            return
        index = job.service.state.index[route]
        fixed = 0.0 if job.service.options.bits[index] > 0 else float(job.service.options.fixed[index])
        answered = now + fixed
        if answered <= job.gives_up:
            job.outcome, job.answered, job.by = SharedOutcome.IN_TIME, answered, index
        self._end(now, job)

    def _give_up(self, now: float, job: _Job) -> None:
        if not job.ended:
            self._end(now, job)

    def _end(self, now: float, job: _Job) -> None:
        job.ended = True
        if job.inference is None:
            return
        run = self.node.stop(job.inference, now)
        if run is not None:
            self._at(run.until, lambda now: self._computed(now, run))

    def _heard(self, now: float, measurement: Measurement) -> None:
        self.measured = now
        for service in self.services:
            service.state = service.policy.observe(measurement, service.state, now)

    def _probe(self, now: float) -> None:
        if now > self.duration:
            return
        again = max(self.measured + self.spec.probe_every, self.link.free_at)
        if again > now:
            self._at(again, self._probe)
            return
        bits = self.spec.probe_bytes * 8.0
        begin, end, crossed, complete = self.link.send(now, bits, now + self.spec.probe_within)
        measurement = Measurement(end - begin, crossed, complete, probe=True)
        self._at(end, lambda now: self._heard(now, measurement))
        self._at(end + self.spec.probe_every, self._probe)
