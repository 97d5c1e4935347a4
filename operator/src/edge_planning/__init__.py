"""Decisions as pure functions of values: which exit, which cut, where.

    plan_entry(EntryProblem(model, entry, remote, rtt, slo)) -> Plan | Infeasible

No clock, no randomness, no I/O; usable without Kubernetes. docs/planning.md has the formulas and their
sources.
"""

from edge_planning.candidates import Candidates, Latency, candidates
from edge_planning.choosing import Choice, choose
from edge_planning.entries import explain_at, plan_entry, route_table, unlimited_table
from edge_planning.errors import BadValueError, PlanningError
from edge_planning.models import Cut, Exit, Model
from edge_planning.plans import Infeasible, Plan, Rejection, Route, RouteTable
from edge_planning.problems import EntryProblem, Mode, Slo, Tables
from edge_planning.profiles import ClassProfile, Timing

__all__ = [
    "BadValueError",
    "Candidates",
    "Choice",
    "ClassProfile",
    "Cut",
    "EntryProblem",
    "Exit",
    "Infeasible",
    "Latency",
    "Mode",
    "Model",
    "Plan",
    "PlanningError",
    "Rejection",
    "Route",
    "RouteTable",
    "Slo",
    "Tables",
    "Timing",
    "candidates",
    "choose",
    "explain_at",
    "plan_entry",
    "route_table",
    "unlimited_table",
]
