"""Discrete-event simulation of policies on nodes, links and servers."""

from edge_planning_lab.simulation.arrivals import constant, poisson
from edge_planning_lab.simulation.change_points import ChangePoints
from edge_planning_lab.simulation.events import simulate
from edge_planning_lab.simulation.links import Bandwidth
from edge_planning_lab.simulation.product import ProductPolicy
from edge_planning_lab.simulation.records import RequestOutcome, RequestRecords, SimulationRun
from edge_planning_lab.simulation.results import (
    Fairness,
    RunSummary,
    by_service,
    fairness,
    summary,
    table,
    tenants,
)
from edge_planning_lab.simulation.scenarios import Broken, Fault, Scenario, SimulatedServer, Stream, Uplink
from edge_planning_lab.simulation.shared_node import (
    SharedOutcome,
    SharedRun,
    SharedService,
    simulate_shared,
)
from edge_planning_lab.simulation.traces import LognormalProcess, OutageProcess, read_trace

__all__ = [
    "Bandwidth",
    "Broken",
    "ChangePoints",
    "Fairness",
    "Fault",
    "LognormalProcess",
    "OutageProcess",
    "ProductPolicy",
    "RequestOutcome",
    "RequestRecords",
    "RunSummary",
    "Scenario",
    "SharedOutcome",
    "SharedRun",
    "SharedService",
    "SimulatedServer",
    "SimulationRun",
    "Stream",
    "Uplink",
    "by_service",
    "constant",
    "fairness",
    "poisson",
    "read_trace",
    "simulate",
    "simulate_shared",
    "summary",
    "table",
    "tenants",
]
