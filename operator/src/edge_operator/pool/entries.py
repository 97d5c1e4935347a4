"""What each entry node of a service does: whether it answers, its route, what is wrong there. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge_api import Placement
from edge_api.counts import count_of
from edge_api.devicepools import Tier
from edge_api.inferenceservices import EntryCounts, EntryStatus, InferenceServiceSpec
from edge_api.placements import Route
from edge_api.quantities import Attainment
from edge_operator.conditions import Blocked
from edge_operator.pool import margins
from edge_operator.pool_nodes import Node
from edge_planning.choosing.sentences import bandwidth_text

MOST_SHOWN: Final = 100
"""Entry nodes in a status; an object of the API server holds at most 1.5 MB."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry node.

    alive: whether the pod of its runtime is Ready. trouble: why its pod does not run. infeasible: why it has
    no route by the current plan. former: what the published routes follow in place of the present spec. All
    texts are empty if there is nothing to say. withheld: why it has no new table although there are routes.
    """

    node: Node
    placement: Placement | None
    tier: Tier = "Edge"
    alive: bool = True
    trouble: str = ""
    infeasible: str = ""
    former: str = ""
    withheld: Blocked | None = None

    @property
    def serves(self) -> bool:
        """Whether it answers requests, by whichever plan."""
        report = self.placement.status if self.placement is not None else None
        answers = report is not None and (report.loaded or bool(report.active_route))
        return self.node.ready and self.alive and answers

    @property
    def pending(self) -> bool:
        """Whether nothing is known to be wrong, and its runtime is not up yet or has not reported yet."""
        known = self.placement is not None and self.node.ready and not self.trouble
        return known and not self.infeasible and not self.serves and not self._refusal

    @property
    def switching(self) -> bool:
        """Whether its runtime still has to load the published routes."""
        if self.placement is None or self.placement.status is None:
            return False
        return self.placement.status.observed_generation < (self.placement.metadata.generation or 0)

    @property
    def _refusal(self) -> str:
        """Why its runtime did not load the published routes."""
        report = self.placement.status if self.placement is not None else None
        return report.message if report is not None and not report.loaded else ""

    @property
    def problem(self) -> str:
        """What is wrong; empty if it answers by the published routes or loads them now."""
        kept = f"; the previous routes keep serving{self.former}" if self.serves else ""
        if not self.node.ready:
            runs = "; if the machine is up, its runtime keeps serving" if self.placement is not None else ""
            return f"the node is not Ready: {self.node.not_ready_because.rstrip('.')}{runs}"
        if self.infeasible:
            return self.infeasible + kept
        if self.withheld is not None:
            return self.withheld.message + (
                f"; the published routes keep serving{self.former}" if self.serves else ""
            )
        if self.placement is None:
            return "no routes are published yet"
        if self._refusal:
            return self._refusal + kept
        report = self.placement.status
        if report is None:
            return self.trouble or "the runtime has not reported yet"
        if not self.alive:
            return self.trouble or "the pod of the runtime is not Ready"
        return "" if self.serves else self.trouble or "the runtime is loading the routes"

    @property
    def route(self) -> Route | None:
        """The active route; None if it does not answer or its report names no published route."""
        if self.placement is None or self.placement.status is None or not self.serves:
            return None
        active = self.placement.status.active_route
        return next((route for route in self.placement.spec.routes if route.name == active), None)


def former_spec(placement: Placement | None, spec: InferenceServiceSpec) -> str:
    """Returns what published routes follow in place of a service's present spec; empty if nothing differs."""
    if placement is None:
        return ""
    published, differ = placement.spec, []
    if published.mode != spec.mode:
        differ.append(f'spec.mode: "{published.mode}"')
    if published.privacy != spec.privacy:
        differ.append(f'spec.privacy: "{published.privacy}"')
    if published.slo.latency != spec.slo.latency:
        differ.append(f'spec.slo.latency: "{published.slo.latency}"')
    return f", by an earlier {' and '.join(differ)}" if differ else ""


def needed(entries: Sequence[Entry], wanted: int | str | None) -> int:
    """Returns how many entry nodes must answer. wanted: spec.minReadyEntries."""
    if wanted is None:
        return max(sum(entry.node.ready for entry in entries), 1)
    return count_of(wanted, len(entries))


def counts(entries: Sequence[Entry]) -> EntryCounts:
    """Returns the numbers of entry nodes by what they do."""
    return EntryCounts(
        total=len(entries),
        ready=sum(entry.serves for entry in entries),
        degraded=sum(entry.serves and bool(entry.problem) for entry in entries),
        updating=sum(entry.pending or (entry.serves and entry.switching) for entry in entries),
        away=sum(not entry.node.ready for entry in entries),
        missing=sum(entry.node.ready and not entry.serves and not entry.pending for entry in entries),
    )


def shown(entries: Sequence[Entry]) -> tuple[EntryStatus, ...]:
    """Returns the statuses of the entry nodes, in their order; of too many, the worst."""
    worst = sorted(entries, key=_badness)[:MOST_SHOWN]
    chosen = {entry.node.name for entry in worst}
    return tuple(_status(entry) for entry in entries if entry.node.name in chosen)


def ei_level(entries: Sequence[Entry]) -> int | None:
    """Returns the level of edge intelligence of the service: the lowest of its entry nodes'.

    The levels of inference of Zhou et al., "Edge Intelligence: Paving the Last Mile of Artificial
    Intelligence With Edge Computing" (2019): 0 in the cloud, 1 cloud and edge together, 2 in the edge,
    3 on the device.
    """
    levels = [_level(route, entry.tier) for entry in entries if (route := entry.route) is not None]
    return min(levels, default=None)


def _level(route: Route, tier: Tier) -> int:
    cloud = any(stage.runtime == "Triton" for stage in route.stages)
    edge = any(stage.runtime == "Edge" for stage in route.stages)
    if cloud:
        return 1 if edge else 0
    here = all(stage.address is None for stage in route.stages)
    return 3 if here and tier == "Device" else 2


def _badness(entry: Entry) -> tuple[bool, bool, float]:
    report = entry.placement.status if entry.placement is not None else None
    share = report.attainment if report is not None else None
    return entry.serves, not entry.problem, 1.0 if share is None else float(share)


def _status(entry: Entry) -> EntryStatus:
    placement = entry.placement if entry.alive else None
    report = placement.status if placement is not None else None
    if placement is None or report is None:
        return EntryStatus(node=entry.node.name, reason=entry.problem)
    route = entry.route
    return EntryStatus(
        node=entry.node.name,
        exit=report.exit,
        cut=report.cut,
        predicted_latency=route.predicted_latency if route is not None else None,
        measured_latency=report.latency.p95 if report.latency is not None else None,
        bandwidth=report.link.bandwidth if report.link is not None else None,
        attainment=None if report.attainment is None else Attainment(report.attainment),
        compute_factor=margins.factor_of(placement),
        reason=entry.problem or _why(placement),
    )


def _why(placement: Placement) -> str:
    """Returns why the active route is used, from the table and the link."""
    report = placement.status
    assert report is not None
    routes = placement.spec.routes
    index = next((i for i, r in enumerate(routes) if r.name == report.active_route), None)
    if index is None:
        return "no route is active yet"
    if len(routes) == 1:
        return f"the only route in mode {placement.spec.mode}"
    if report.link is not None and report.link.state == "Down":
        return f"{placement.spec.link.peer if placement.spec.link else 'the cloud'} does not respond"
    own = f"used from {bandwidth_text(routes[index].min_bandwidth)}" if routes[index].min_bandwidth else ""
    better = (
        f"{routes[index - 1].name} needs {bandwidth_text(routes[index - 1].min_bandwidth)}" if index else ""
    )
    return "; ".join(part for part in (own, better) if part)
