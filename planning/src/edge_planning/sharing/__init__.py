"""The joint choice: services x entry nodes x candidates, within capacities of nodes, uplinks and servers."""

from edge_planning.sharing.budgets import MoveBudget
from edge_planning.sharing.building import sharing_problem
from edge_planning.sharing.entitled_plans import EntitledPlan, share_by_entitlement
from edge_planning.sharing.entitlements import Entitlements, entitlements
from edge_planning.sharing.incremental import replan_pool
from edge_planning.sharing.joint_choice import SharingProblem, from_arrays
from edge_planning.sharing.options import options_of
from edge_planning.sharing.quotas import Amount, Quota, ResourceKind, Share
from edge_planning.sharing.reasons import DemandReason, reason, reasons
from edge_planning.sharing.results import Shared
from edge_planning.sharing.solving import references_of, share
from edge_planning.sharing.tenant_shares import Kept, Limit, Shortage, TenantShare
from edge_planning.sharing.values import Demand, Option, SharedResource, Tenant

__all__ = [
    "Amount",
    "Demand",
    "DemandReason",
    "EntitledPlan",
    "Entitlements",
    "Kept",
    "Limit",
    "MoveBudget",
    "Option",
    "Quota",
    "ResourceKind",
    "Share",
    "Shared",
    "SharedResource",
    "SharingProblem",
    "Shortage",
    "Tenant",
    "TenantShare",
    "entitlements",
    "from_arrays",
    "options_of",
    "reason",
    "reasons",
    "references_of",
    "replan_pool",
    "share",
    "share_by_entitlement",
    "sharing_problem",
]
