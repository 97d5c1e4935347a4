"""Routes by Bayesian change-point forecasts, for comparison: no part of the product uses them."""

from dataclasses import dataclass, field, replace

import numpy as np

from edge_planning.plans import RouteTable
from edge_planning_lab.baselines.options import SimulatedCandidates
from edge_planning_lab.baselines.policies import Answer, Measurement, Request
from edge_planning_lab.replanning.choices import prospects
from edge_planning_lab.replanning.decisions import Switch, SwitchingSettings
from edge_planning_lab.replanning.observations import BandwidthSample, NoReply, Nothing, Observation
from edge_planning_lab.replanning.replans import observed, replan
from edge_planning_lab.replanning.routes import Routes, routes_of
from edge_planning_lab.replanning.states import State


@dataclass(frozen=True, slots=True, eq=False)
class ChangePointState:
    """State: the routes of the table for re-planning, and the state of re-planning.

    index: Candidates of the routes. active: Index of the active route. The local candidate of each route's
    fallback, if any, is kept too.
    """

    routes: Routes
    index: tuple[int, ...]
    fallbacks: tuple[int | None, ...]
    memory: State
    active: int


@dataclass(frozen=True, slots=True, eq=False)
class ChangePoints:
    """Chooses from a route table by `replan`.

    Attributes:
        has_fallback: Whether deadline.action is LocalExit: if a remote response is late, the table's local
            exit is computed from the activation that the node already has.
        sure: Below this probability of a response in time, the fallback starts immediately, otherwise at the
            latest possible time.
        guard: Seconds before the deadline at which the fallback must be ready.
        waste: Accuracy by which a fallback counts less than the same response by the local route, since the
            transfer was useless.
    """

    table: RouteTable
    has_fallback: bool = True
    settings: SwitchingSettings = field(default_factory=SwitchingSettings)
    guard: float = 0.005
    sure: float = 0.8
    waste: float = 0.01
    name: str = "change_points"
    probes: bool = True

    def start(self, options: SimulatedCandidates) -> ChangePointState:
        index = tuple(options.find(route.name) for route in self.table.routes)
        local = next((i for i in index if options.bits[i] == 0), None)
        fallbacks = tuple(self._stand_in(options, i, local) for i in index)
        picked = np.array(index)
        routes = routes_of(
            [options.names[i] for i in index],
            options.intercept[picked].tolist(),
            options.bits[picked].tolist(),
            options.accuracy[picked].tolist(),
            deadline=options.deadline,
            fallback=[0.0 if i is None else float(options.accuracy[i]) - self.waste for i in fallbacks],
        )
        return ChangePointState(routes, index, fallbacks, State(), len(index) - 1)

    def decide(
        self, request: Request, state: ChangePointState, now: float
    ) -> tuple[Answer, ChangePointState]:
        state = self._replanned(state, Nothing(), now)
        route = state.active
        if request.wait > 0 or request.backlog > 0:
            route = self._behind(request, state, now)
        fallback = state.fallbacks[route]
        eager = fallback is not None and self._likely_late(request, state, route, now)
        return Answer(state.index[route], fallback, 0.0 if eager else None), state

    def observe(self, measurement: Measurement, state: ChangePointState, now: float) -> ChangePointState:
        if measurement.seconds <= 0:
            return state
        seen: Observation = NoReply(1.0, measurement.seconds)
        if measurement.bits > 0:
            seen = BandwidthSample(measurement.rate)
        return replace(state, memory=observed(state.memory, seen, now, self.settings))

    def _replanned(self, state: ChangePointState, observation: Observation, now: float) -> ChangePointState:
        decision, memory = replan(state.routes, observation, state.memory, now, self.settings)
        active = decision.index if isinstance(decision, Switch) else state.active
        return replace(state, memory=memory, active=active)

    def _behind(self, request: Request, state: ChangePointState, now: float) -> int:
        """Returns the best route for a request that waits for others at the node or on the link."""
        options, routes = request.options, state.routes
        picked = np.array(state.index)
        wait = np.where(options.head[picked] > 0, request.wait, 0.0)
        seconds = routes.seconds + wait
        slack = options.deadline - self.guard
        spare = [
            j is not None and request.wait + options.head[i] + options.rest[i, j] <= slack
            for i, j in zip(state.index, state.fallbacks, strict=True)
        ]
        queued = replace(
            routes,
            seconds=seconds,
            bits=np.where(routes.bits > 0, routes.bits + request.backlog, 0.0),
            fallback=np.where(spare, routes.fallback, 0.0),
        )
        forecast = state.memory.forecast(now) if state.memory.up else None
        return prospects(queued, forecast, price=self.settings.price, objective=self.settings.objective).best

    def _likely_late(self, request: Request, state: ChangePointState, route: int, now: float) -> bool:
        """Whether the response probably misses the deadline."""
        if not state.memory.up:
            return True
        routes = state.routes
        wait = request.wait if request.options.head[state.index[route]] > 0 else 0.0
        slack = routes.deadline - float(routes.seconds[route]) - wait
        if slack <= 0:
            return True
        needed = (float(routes.bits[route]) + request.backlog) / slack
        return float(state.memory.forecast(now).probability_above(needed)) < self.sure

    def _stand_in(self, options: SimulatedCandidates, index: int, local: int | None) -> int | None:
        if not self.has_fallback or local is None or options.bits[index] == 0:
            return None
        seconds = options.head[index] + options.rest[index, local] + options.fixed[local] + self.guard
        return local if seconds <= options.deadline else None
