"""The setting: Edgent's AlexNet with five exits, its Raspberry Pi 3 and desktop, as published."""

from dataclasses import dataclass, replace
from functools import cache

from edge_planning import EntryProblem, Infeasible, RouteTable, Slo, Tables, candidates, plan_entry
from edge_planning.choosing.route_tables import useful
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.costs.estimates import class_profile
from edge_planning.graphs.models import Model
from edge_planning_lab.alexnet import alexnet
from edge_planning_lab.baselines import Power, SimulatedCandidates, options_of

RTT = 0.005
POWER = Power(computing=1.8, sending=0.7)  # watts; an assumption, the sources of latency have none


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The setting of one deadline. every: all candidates, for policies that know the trace."""

    options: SimulatedCandidates
    every: SimulatedCandidates
    table: RouteTable


def with_pixels(model: Model, pixels: float) -> Model:
    """Returns the model with an image of `pixels` bytes per color of a pixel; 4 as published (fp32)."""
    exits = tuple(
        replace(
            exit_, cuts=(replace(exit_.cuts[0], size=round(exit_.cuts[0].size * pixels / 4)), *exit_.cuts[1:])
        )
        for exit_ in model.exits
    )
    return replace(model, exits=exits)


@cache
def case(deadline: float, pixels: float = 4) -> Case:
    """Returns the candidates and the product's route table.

    pixels: bytes sent per color of a pixel. As published the image crosses the link in fp32. CIFAR-10's
    pixels have 8 bits, so sent as int8 nothing is lost.
    """
    model = with_pixels(alexnet(), pixels)
    device, server = class_profile(model, RASPBERRY_PI_3), class_profile(model, DESKTOP)
    problem = EntryProblem(model, device, server, RTT, Slo(deadline), tables=Tables())
    plan = plan_entry(problem)
    assert not isinstance(plan, Infeasible), plan.reasons
    every = candidates(problem)
    return Case(
        options_of(useful(every), deadline, POWER),
        options_of(every, deadline, POWER),
        plan.table,
    )
