"""The deletions of a pool's services, which wait for no plan of the pool.

A plan can take a minute, and is made from a snapshot of when it began. Until it ends, deletions are carried
on from the objects as they are. What the plan decides on these services is dropped.
"""

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import replace
from types import MappingProxyType

from edge_operator.keys import ServiceKey
from edge_operator.pool.plans import PoolPlan
from edge_operator.pool.services import ServicePlan


class Removals:
    """How far the deletions have come, and which can be carried on. Used on the event loop only."""

    def __init__(self) -> None:
        self._plans: dict[ServiceKey, ServicePlan] = {}
        self._changed: set[ServiceKey] = set()
        self._overtaking: set[ServiceKey] = set()
        """Services that were woken since the newest snapshot was taken."""
        self._woken = asyncio.Event()

    def __contains__(self, key: ServiceKey) -> bool:
        """Whether a deletion has begun."""
        return key in self._plans

    def get(self, key: ServiceKey) -> ServicePlan | None:
        """Returns how far a deletion has come; None before it begins."""
        return self._plans.get(key)

    def wake(self, key: ServiceKey) -> None:
        """Notes that a service is being deleted or is gone, or that something of it has changed since."""
        self._changed.add(key)
        self._overtaking.add(key)
        self._woken.set()

    def due(self, now: float) -> Collection[ServiceKey]:
        """Returns the deletions to carry on. now: seconds of the monotonic clock."""
        self._woken.clear()
        found = self._changed | {key for key, plan in self._plans.items() if plan.again_at <= now}
        self._changed = set()
        return found

    async def until_due(self, now: float) -> None:
        """Waits until there is something to carry on. now: seconds of the monotonic clock."""
        again = min((plan.again_at for plan in self._plans.values()), default=float("inf"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if again == float("inf") else max(again - now, 0.0)):
                await self._woken.wait()

    def carried_on(self, key: ServiceKey, plan: ServicePlan) -> None:
        """Notes what is done next."""
        self._plans[key] = plan
        self._changed.discard(key)

    def end(self, key: ServiceKey) -> None:
        """Forgets a service that is gone."""
        self._plans.pop(key, None)

    def snapshot_taken(self) -> None:
        """Begins a plan that knows of every deletion."""
        self._overtaking.clear()

    def without_overtaken(self, found: PoolPlan) -> PoolPlan:
        """Returns a plan without what it decided on services that are deleted, or were while it was made."""
        left_out = self._overtaking | self._plans.keys()
        if not left_out:
            return found
        services = {key: plan for key, plan in found.services.items() if key not in left_out} | self._plans
        return replace(found, services=MappingProxyType(services), planned=found.planned - left_out)
