"""The setting under load: three services at one Raspberry Pi 3 with one uplink, planned together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from benchmarks.slo.cases import RTT, with_pixels
from edge_planning import EntryProblem, RouteTable, Slo, Tables, candidates
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.costs.estimates import class_profile
from edge_planning.pools import PoolDemand, PoolNode, PoolProblem, PoolServer, plan_pool
from edge_planning_lab.alexnet import NARROW, WIDE, Widths, alexnet
from edge_planning_lab.baselines import SimulatedCandidates, options_of
from edge_planning_lab.schedules import worthwhile

NODE, SERVER = "pi", "desktop"


@dataclass(frozen=True, slots=True)
class ServiceCase:
    """A service: the widths of its AlexNet, bytes sent per color of a pixel, and its SLO in seconds."""

    name: str
    widths: Widths
    pixels: float
    slo: float


SERVICES = (
    ServiceCase("wide", WIDE, 4, 0.8),
    ServiceCase("narrow", NARROW, 4, 0.2),
    ServiceCase("wide-int8", WIDE, 1, 0.4),
)


@dataclass(frozen=True, slots=True, eq=False)
class SharedCase:
    """Each service's problem, its candidates, and those of them that the oracle schedules."""

    problems: tuple[EntryProblem, ...]
    options: tuple[SimulatedCandidates, ...]
    worthwhile: tuple[SimulatedCandidates, ...]

    @property
    def capacity(self) -> float:
        """Requests per second of all services together, each at the same rate, that the node can compute by
        the exit of each that takes it the least time.
        """
        return len(self.options) / sum(min(float(one.head[i]) for i in one.local) for one in self.options)


@cache
def shared_case() -> SharedCase:
    """Returns the setting."""
    problems = []
    for service in SERVICES:
        model = with_pixels(alexnet(service.widths), service.pixels)
        device, server = class_profile(model, RASPBERRY_PI_3), class_profile(model, DESKTOP)
        slo = Slo(service.slo)
        problems.append(
            EntryProblem(model, device, server, RTT, slo, tables=Tables(), node=NODE, peer=SERVER)
        )
    options = [options_of(candidates(one), one.slo.latency) for one in problems]
    return SharedCase(tuple(problems), tuple(options), tuple(worthwhile(one) for one in options))


def planned(rate: float, uplink: float) -> Sequence[RouteTable]:
    """Returns the tables that the operator plans for services of `rate` requests per second each.

    uplink: bit/s that the plan counts with. Raises ValueError if the plan refuses a service.
    """
    demands = tuple(
        PoolDemand(service.name, "tenant", service.name, (problem,), rate)
        for service, problem in zip(SERVICES, shared_case().problems, strict=True)
    )
    node = PoolNode(NODE, RASPBERRY_PI_3.name, uplink=uplink)
    plan = plan_pool(PoolProblem((node,), (PoolServer(SERVER),), demands))
    if plan.refused:
        raise ValueError("; ".join(one.message for one in plan.refused.values()))
    return [plan.placed[one.name].plan.table for one in demands]
