"""The product's decisions as a policy: the functions that the runtime calls, on simulated measurements.

Not simulated: what the kernel reports about a transfer in progress, the early release of requests that wait
for a hop whose breaker opens, and health checks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

from edge_planning import RouteTable
from edge_planning.links.estimates import Estimate, LinkView, RateSample, add, growth_at
from edge_planning.routing.breakers import CLOSED, Breaker, abandoned, failed, may_try, seen, tried
from edge_planning.routing.deadlines import COMPUTE_MARGIN, DeadlineAction, Times, allowance, latest, too_busy
from edge_planning.routing.routes import (
    RouteRequest,
    RouteRequirement,
    RouteState,
    bandwidth_alone,
    best,
    chance,
    decide,
    route_to_test,
)
from edge_planning_lab.baselines.options import SimulatedCandidates
from edge_planning_lab.baselines.policies import Answer, HopOutcome, Measurement, Request


@dataclass(frozen=True, slots=True, eq=False)
class ProductState:
    """State.

    Attributes:
        index: Candidates of the routes.
        local_routes: Local candidate for the fallback of each, if any.
    """

    options: SimulatedCandidates
    index: tuple[int, ...]
    local_routes: tuple[int | None, ...]
    requirements: tuple[RouteRequirement, ...]
    fallbacks: tuple[tuple[float, float] | None, ...]
    estimate: Estimate = field(default_factory=Estimate)
    up: bool = True
    route: RouteState = field(default_factory=RouteState)
    breaker: Breaker = CLOSED


@dataclass(frozen=True, slots=True)
class ConstantTime:
    """A compute time that does not vary, with the upper bound that the runtime assumes for it."""

    seconds: float

    @property
    def most(self) -> float:
        return COMPUTE_MARGIN * self.seconds


@dataclass(frozen=True, slots=True)
class SentAnswer(Answer):
    """An answer with the fields that the breaker needs."""

    trial: bool = False
    fair: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ProductPolicy:
    """Chooses from a route table by the functions that the runtime calls."""

    table: RouteTable
    action: DeadlineAction = DeadlineAction.LOCAL_EXIT
    name: str = "ours"
    probes: bool = True

    def start(self, options: SimulatedCandidates) -> ProductState:
        index = tuple(options.find(route.name) for route in self.table.routes)
        local_routes = tuple(_fallback(options, index, i) for i in index)
        requirements = tuple(
            RouteRequirement(
                route.min_bandwidth,
                bool(options.bits[i] > 0),
                float(options.accuracy[i]),
                route.latency,
                float(options.head[i]),
                float(options.tail[i] + options.fixed[i]),
                float(options.bits[i]),
                bandwidth_alone(route.min_bandwidth, route.latency, float(options.bits[i]), options.deadline),
            )
            for route, i in zip(self.table.routes, index, strict=True)
        )
        has_fallback = self.action is DeadlineAction.LOCAL_EXIT
        fallbacks = tuple(
            (float(options.accuracy[j]), float(options.rest[i, j]))
            if j is not None and has_fallback
            else None
            for i, j in zip(index, local_routes, strict=True)
        )
        return ProductState(options, index, local_routes, requirements, fallbacks)

    def decide(self, request: Request, state: ProductState, now: float) -> tuple[Answer, ProductState]:
        options, requirements = state.options, state.requirements
        view = LinkView(state.up, state.estimate.rate, state.estimate.ranked, growth_at(state.estimate, now))
        route_request = RouteRequest(options.deadline, fallbacks=state.fallbacks)
        blocked = set() if state.breaker.closed else {i for i, c in enumerate(requirements) if c.remote}
        chosen, route = decide(requirements, view, state.route, now, blocked, route_request)
        if request.wait or request.backlog:
            route_request = replace(route_request, wait=request.wait)
            view = replace(view, backlog=request.backlog)
            chosen = best(requirements, view, route_request, blocked)
        state, trial = replace(state, route=route), False
        if blocked:
            local = {i for i, c in enumerate(requirements) if not c.remote}
            testable = blocked if may_try(state.breaker, now) else ()
            tested = route_to_test(requirements, view, route_request, chosen, local, testable)
            if tested is not None:
                chosen, trial = tested, True
                state = replace(state, breaker=tried(state.breaker))
        index, fallback = state.index[chosen], state.local_routes[chosen]
        if options.bits[index] == 0:
            return Answer(index), state
        head = float(options.head[index])
        elapsed = (request.wait if head > 0 else 0.0) + head
        likely = chance(requirements[chosen], chosen, view, route_request)
        planned = self.table.routes[chosen].latency
        times = Times(options.deadline, options.deadline, elapsed, planned, likely)
        compute_time = None if fallback is None else ConstantTime(float(options.rest[index, fallback]))
        allowed = allowance(self.action, times, compute_time)
        idle = not request.backlog
        wait = view.wait_for(float(options.bits[index]), idle=idle)
        if too_busy(allowed.seconds, wait, float(options.tail[index]), only=allowed.only, idle=idle):
            return SentAnswer(index, fallback, elapsed, elapsed, trial), state  # LinkBusy
        within = elapsed + allowed.seconds
        begin = within if allowed.fallback_in is None else elapsed + allowed.fallback_in
        return SentAnswer(index, fallback, begin, within, trial, allowed.fair), state

    def observe(self, measurement: Measurement, state: ProductState, now: float) -> ProductState:
        if measurement.seconds <= 0:
            return state
        if measurement.bits <= 0:
            return replace(state, up=False)
        if not state.up:
            state = replace(state, up=True, estimate=Estimate(), breaker=CLOSED)
        rate = measurement.rate
        state = replace(state, estimate=add(state.estimate, RateSample(now, rate, rate, measurement.seconds)))
        return replace(state, breaker=seen(state.breaker, state.estimate.rate or inf, now))

    def ended(self, answer: Answer, hop: HopOutcome, state: ProductState, now: float) -> ProductState:
        """Updates the hop's breaker as the runtime does."""
        assert isinstance(answer, SentAnswer)
        if hop is HopOutcome.OK:
            return replace(state, breaker=CLOSED)
        if hop is HopOutcome.NOTHING or not answer.fair:
            return replace(state, breaker=abandoned(state.breaker)) if answer.trial else state
        return replace(state, breaker=failed(state.breaker, now, late=True, trial=answer.trial))


def _fallback(options: SimulatedCandidates, index: Sequence[int], route: int) -> int | None:
    """Returns the most accurate local route that is in time behind a route's head, else the last one."""
    local = [i for i in index if options.bits[i] == 0]
    if options.bits[route] == 0 or not local:
        return None
    until = latest(options.deadline) - options.head[route]
    return next((i for i in local if options.rest[route, i] <= until), local[-1])
