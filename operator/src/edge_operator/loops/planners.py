"""The threads in which plans of pools are made.

A plan of thousands of services can take more than a minute of CPU (docs/pools.md). Large pools therefore have
threads of their own, in which they wait for each other: the other pools wait for none of them, and share the
interpreter with at most as many as there are threads.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from edge_operator.pool import plans
from edge_operator.pool.drafts import Now
from edge_operator.pool.plans import PoolPlan
from edge_operator.pool.states import PoolState

THREADS: Final = 2
"""Threads for large pools, and as many for the others."""
LARGE: Final = 500
"""A large pool has more Placements, or services that have none yet."""

Plan = Callable[[PoolState, PoolPlan, Now], PoolPlan]


def is_large(state: PoolState) -> bool:
    """Whether plans of a pool can take long."""
    return max(len(state.services), len(state.placements)) > LARGE


class Planners:
    """Makes plans off the event loop."""

    def __init__(self, plan: Plan = plans.plan) -> None:
        self._plan = plan
        self._threads = {
            large: ThreadPoolExecutor(THREADS, thread_name_prefix=f"plan {'large ' if large else ''}pool")
            for large in (False, True)
        }

    async def planned(self, state: PoolState, previous: PoolPlan, now: Now) -> PoolPlan:
        """Returns the plan of a pool."""
        threads = self._threads[is_large(state)]
        return await asyncio.get_running_loop().run_in_executor(threads, self._plan, state, previous, now)

    def stop(self) -> None:
        """Begins no further plan."""
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)
