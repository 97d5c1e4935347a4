"""Planning as pure functions of values: selects exits, cuts and places.

    plan_entry(EntryProblem(model, entry, remote, rtt, slo)) -> Plan | Infeasible

No clock, no randomness, no I/O; usable without Kubernetes. docs/planning.md documents the formulas and their
sources.
"""

from edge_planning.choosing.candidates import Candidates, Latency
from edge_planning.choosing.choices import Choice, Chooser, choose, chooser
from edge_planning.choosing.entries import explain_at, plan_entry, rejected, route_table, unlimited_table
from edge_planning.choosing.enumeration import candidates
from edge_planning.choosing.explanations import Explanation, explain
from edge_planning.costs.profiles import ClassProfile, Timing
from edge_planning.distributions import Distribution, LogUniform, Weighted, lognormal
from edge_planning.errors import BadValueError, PlanningError
from edge_planning.graphs.models import Cut, Exit, Model
from edge_planning.plans import Infeasible, Plan, Rejection, Route, RouteTable
from edge_planning.problems import (
    FP32,
    Codec,
    Confidence,
    EntryProblem,
    Helper,
    Load,
    Mode,
    Objective,
    Privacy,
    Slo,
    Tables,
    fp16,
    int8,
)

__all__ = [
    "FP32",
    "BadValueError",
    "Candidates",
    "Choice",
    "Chooser",
    "ClassProfile",
    "Codec",
    "Confidence",
    "Cut",
    "Distribution",
    "EntryProblem",
    "Exit",
    "Explanation",
    "Helper",
    "Infeasible",
    "Latency",
    "Load",
    "LogUniform",
    "Mode",
    "Model",
    "Objective",
    "Plan",
    "PlanningError",
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
    "chooser",
    "explain",
    "explain_at",
    "fp16",
    "int8",
    "lognormal",
    "plan_entry",
    "rejected",
    "route_table",
    "unlimited_table",
]
