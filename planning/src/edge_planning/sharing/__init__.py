"""The joint choice: services x entry nodes x candidates, within capacities of nodes, uplinks and servers."""

from edge_planning.sharing.building import sharing_problem
from edge_planning.sharing.incremental import replan_pool
from edge_planning.sharing.joint_choice import SharingProblem, from_arrays
from edge_planning.sharing.options import options_of
from edge_planning.sharing.reasons import DemandReason, reason, reasons
from edge_planning.sharing.results import Shared
from edge_planning.sharing.solving import references_of, share
from edge_planning.sharing.values import Demand, Option, SharedResource, Tenant

__all__ = [
    "Demand",
    "DemandReason",
    "Option",
    "Shared",
    "SharedResource",
    "SharingProblem",
    "Tenant",
    "from_arrays",
    "options_of",
    "reason",
    "reasons",
    "references_of",
    "replan_pool",
    "share",
    "sharing_problem",
]
