"""Planning as pure functions of values: selects exits, cuts and places.

    plan_entry(EntryProblem(model, entry, remote, rtt, slo)) -> Plan | Infeasible

No clock, no randomness, no I/O; usable without Kubernetes. docs/planning.md documents the formulas and their
sources.

A name of this package is imported when it is first used, so that `edge_planning.links` and
`edge_planning.routing`, which the runtime calls for each request, load neither numpy nor the planner.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_planning.choosing.candidates import Candidates, Latency
    from edge_planning.choosing.choices import Choice, choose
    from edge_planning.choosing.entries import plan_entry, rejected, route_table
    from edge_planning.choosing.enumeration import candidates
    from edge_planning.choosing.explanations import Explanation, explain
    from edge_planning.costs.profiles import ClassProfile, Timing
    from edge_planning.distributions import Distribution, LogUniform, Weighted, lognormal
    from edge_planning.errors import BadValueError, PlanningError
    from edge_planning.graphs.models import Cut, Exit, Model
    from edge_planning.objectives import OBJECTIVES, Objective
    from edge_planning.plans import Infeasible, Plan, Rejection, Route, RouteTable
    from edge_planning.problems import (
        FP32,
        Codec,
        Confidence,
        EntryProblem,
        IntermediateNode,
        Load,
        Mode,
        Prices,
        Privacy,
        Slo,
        Tables,
    )

__all__ = [
    "FP32",
    "OBJECTIVES",
    "BadValueError",
    "Candidates",
    "Choice",
    "ClassProfile",
    "Codec",
    "Confidence",
    "Cut",
    "Distribution",
    "EntryProblem",
    "Exit",
    "Explanation",
    "Infeasible",
    "IntermediateNode",
    "Latency",
    "Load",
    "LogUniform",
    "Mode",
    "Model",
    "Objective",
    "Plan",
    "PlanningError",
    "Prices",
    "Privacy",
    "Rejection",
    "Route",
    "RouteTable",
    "Slo",
    "Tables",
    "Timing",
    "Weighted",
    "candidates",
    "choose",
    "explain",
    "lognormal",
    "plan_entry",
    "rejected",
    "route_table",
]

_MODULES = {
    "choosing.candidates": ("Candidates", "Latency"),
    "choosing.choices": ("Choice", "choose"),
    "choosing.entries": ("plan_entry", "rejected", "route_table"),
    "choosing.enumeration": ("candidates",),
    "choosing.explanations": ("Explanation", "explain"),
    "costs.profiles": ("ClassProfile", "Timing"),
    "distributions": ("Distribution", "LogUniform", "Weighted", "lognormal"),
    "errors": ("BadValueError", "PlanningError"),
    "graphs.models": ("Cut", "Exit", "Model"),
    "objectives": ("OBJECTIVES", "Objective"),
    "plans": ("Infeasible", "Plan", "Rejection", "Route", "RouteTable"),
    "problems": (
        "FP32",
        "Codec",
        "Confidence",
        "EntryProblem",
        "IntermediateNode",
        "Load",
        "Mode",
        "Prices",
        "Privacy",
        "Slo",
        "Tables",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # a type checker would take every name for one of this package

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
