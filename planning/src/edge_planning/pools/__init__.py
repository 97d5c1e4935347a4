"""Plans all services of a device pool together: one route table, or one refusal, for each demand."""

from edge_planning.pools.planning import plan_pool
from edge_planning.pools.results import Placed, PoolPlan, PoolShare, Refusal, Room, TenantUse
from edge_planning.pools.values import Isolation, Observed, PoolDemand, PoolNode, PoolProblem, PoolServer

__all__ = [
    "Isolation",
    "Observed",
    "Placed",
    "PoolDemand",
    "PoolNode",
    "PoolPlan",
    "PoolProblem",
    "PoolServer",
    "PoolShare",
    "Refusal",
    "Room",
    "TenantUse",
    "plan_pool",
]
