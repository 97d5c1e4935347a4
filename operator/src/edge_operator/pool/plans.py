"""The plan of a pool: a pure function of what was observed, of the plan before, and of the time.

Cost: the services that changed or are due, each of which is planned only if what it was planned from has
changed; the others cost nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import ValidationError

from edge_api import DevicePool
from edge_api.devicepools import DevicePoolStatus
from edge_api.earlier import earlier_spellings
from edge_api.objects import written
from edge_api.validation_messages import sentences
from edge_operator.conditions import Blocked
from edge_operator.control_checks import control_finding
from edge_operator.former_servers import former_servers, listed_servers
from edge_operator.keys import ServiceKey
from edge_operator.pool.actions import SetStatus, ref_of
from edge_operator.pool.drafts import Now, shared_by
from edge_operator.pool.measurements import measuring_nodes
from edge_operator.pool.services import NEW, ServicePlan, plan_service
from edge_operator.pool.states import PoolState
from edge_operator.pools import Node, missing_certificates
from edge_operator.reading import read, unreadable
from edge_operator.status import pool_status
from edge_operator.surroundings import Surroundings, of_pool


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What to do for a pool and its services.

    Attributes:
        services: The plan of each service.
        planned: The services whose plan was made in this one; only their actions are new.
        status: The pool's status, if it has to be written.
        surroundings: The pool and its nodes as read, and what they were read from.
    """

    services: Mapping[ServiceKey, ServicePlan] = field(default_factory=dict)
    planned: frozenset[ServiceKey] = frozenset()
    status: SetStatus | None = None
    surroundings: "Read | None" = None

    @property
    def again_at(self) -> float:
        """When a service has to be planned again, in seconds of the monotonic clock."""
        return min((plan.again_at for plan in self.services.values()), default=float("inf"))


@dataclass(frozen=True, slots=True)
class Read:
    """A pool and the nodes as read. generation: of the DevicePool; nodes: that they were read from."""

    body: tuple[object, ...]
    nodes: tuple[Node, ...]
    found: Surroundings | Blocked


NOTHING = PoolPlan()
"""The plan before the first."""


def plan(state: PoolState, previous: PoolPlan, now: Now) -> PoolPlan:
    """Returns the plan of a pool."""
    surroundings = _surroundings(state, previous.surroundings)
    everything = surroundings is not previous.surroundings
    shared = shared_by(state, surroundings.found, measuring_nodes(state.jobs.values()))
    services, planned = {}, set()
    for key, own in state.services.items():
        before = previous.services.get(key)
        due = before is None or before.again_at <= now.monotonic
        if before is not None and not (due or everything or key in state.changed):
            services[key] = before
            continue
        services[key] = plan_service(state, own, before or NEW, shared, now)
        planned.add(key)
    status = _status(state, now)
    return PoolPlan(MappingProxyType(services), frozenset(planned), status, surroundings)


def _surroundings(state: PoolState, before: Read | None) -> Read:
    """Returns the pool and the nodes as read: those before, as long as nothing of them has changed."""
    metadata = state.body["metadata"] if state.body is not None else {}
    names = () if state.body is not None else state.pools
    body = (metadata.get("uid"), metadata.get("generation"), names, state.settings)
    if before is not None and before.body == body and before.nodes == state.nodes:
        return before
    return Read(body, state.nodes, of_pool(state.name, state.body, state.pools, state.nodes))


def _status(state: PoolState, now: Now) -> SetStatus | None:
    """Returns the status of the pool if it changed."""
    body = state.body
    if body is None or body["metadata"].get("deletionTimestamp"):
        return None
    servers = {
        "triton_servers": listed_servers(body),
        "former_triton_servers": former_servers(body, state.emptied, now.wall),
    }
    status = written(_found(state, now).model_copy(update=servers))
    return None if status == (body.get("status") or {}) else SetStatus(ref_of(body), body, status)


def _found(state: PoolState, now: Now) -> DevicePoolStatus:
    body = state.body
    assert body is not None, "a pool that does not exist has no status"
    try:
        pool = read(DevicePool, body)
    except ValidationError as error:
        return unreadable(DevicePoolStatus, body, sentences(DevicePool, error), ("Ready",), now.wall)
    untrusted = missing_certificates(pool.spec, state.settings)
    control = control_finding(pool, state.control_open)
    return pool_status(pool, state.nodes, now.wall, untrusted, earlier_spellings(body), control)
