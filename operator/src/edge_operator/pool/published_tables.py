"""Reads the route table of a Placement back, as far as rendering it again needs it. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge_api import Placement
from edge_api.placements import Route as PublishedRoute
from edge_api.placements import Stage
from edge_operator.store_answers import CardExit, ModelCard
from edge_planning import Route, RouteTable
from edge_planning.pools import Placed, PoolPlan
from edge_planning.pools.standing import Standing, with_standing
from edge_planning.problems import FP32

_LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Adopted:
    """A published table, and its server, that stand in place of those of the first plan after a start."""

    routes: tuple[Route, ...]
    server: str | None
    planned: RouteTable
    planned_server: str | None

    def stands(self, placed: Placed) -> bool:
        """Whether the plan still has the table in whose place it stands."""
        return (placed.plan.table, placed.server) == (self.planned, self.planned_server)


def in_force(plan: PoolPlan, adopted: Mapping[str, Adopted]) -> PoolPlan:
    """Returns a plan with the tables that stand, and with what demands hold by them."""
    return with_standing(plan, {name: Standing(each.routes, each.server) for name, each in adopted.items()})


_THRESHOLD = re.compile(r"\?([0-9.e+-]+)@")


def published_routes(placement: Placement, metadata: ModelCard) -> tuple[Route, ...] | None:
    """Returns the routes that a Placement was rendered from; None if not of this model, or if edited.

    Numbers have the digits that are published, bits those of whole bytes. The bandwidth from which the SLO is
    met is not published.
    """
    exits = {each.name: each for each in metadata.exits}
    routes = []
    for each in placement.spec.routes:
        exit_ = exits.get(each.exit)
        made = next((one for one in _readings(each, exit_) if one.name == each.name), None) if exit_ else None
        if made is None:
            return None
        routes.append(made)
    return tuple(routes)


def _readings(route: PublishedRoute, exit_: CardExit) -> Iterator[Route]:
    """Yields what a route can be: its name says which, but can be read in several ways."""
    here = next((stage for stage in route.stages if stage.address is None), None)
    tail = next((stage for stage in route.stages if stage.runtime == "Triton"), None)
    between = next((s for s in route.stages if s.address is not None and s.runtime == "Edge"), None)
    threshold = _THRESHOLD.search(route.name)
    codecs = route.codecs or (FP32.name,)
    seconds = [None if between is None or tail is None else cut.tensor for cut in exit_.cuts]
    for second in dict.fromkeys(seconds):
        yield Route(
            exit=route.exit,
            cut=None if route.cut == _LOCAL else route.cut,
            accuracy=float(route.accuracy),
            min_bandwidth=int(route.min_bandwidth),
            met_from=None,
            latency=float(route.predicted_latency),
            head=_seconds(here),
            tail=_seconds(tail),
            bits=8 * (route.predicted_bytes or 0),
            codec=codecs[0] if len(set(codecs)) == 1 else ",".join(codecs),
            intermediate=None if between is None else between.place,
            second_cut=second,
            intermediate_compute=_seconds(between),
            threshold=None if threshold is None else float(threshold[1]),
            worth=float(route.accuracy if route.worth is None else route.worth),
            cost=route.predicted_cost,
            packed=None if here is None else here.packed,
            intermediate_packed=None if between is None else between.packed,
            energy=route.predicted_energy,
        )


def _seconds(stage: Stage | None) -> float | None:
    return None if stage is None or stage.predicted_compute is None else float(stage.predicted_compute)
