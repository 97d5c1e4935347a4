"""The last step of a service's plan: load tails, publish route tables, remove former nodes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_api import DevicePool, Placement, reasons
from edge_api.placements import Route
from edge_operator.cluster import Object
from edge_operator.conditions import Blocked, Finding
from edge_operator.errors import (
    ControlDeniedError,
    ObjectRefusedError,
    OperatorError,
    StoreError,
    TailRefusedError,
    TritonBusyError,
    TritonUntrustedError,
)
from edge_operator.keys import TailKey
from edge_operator.names import FORMER_TAILS_ANNOTATION
from edge_operator.pool import relaying, withheld
from edge_operator.pool.actions import Apply, Delete, LoadTails
from edge_operator.pool.drafts import Compared, Draft
from edge_operator.pool.facts import NotKnownError, TailsAt
from edge_operator.pool.published import kept
from edge_operator.tritons import residency
from edge_operator.tritons.tail_models import Tail
from edge_operator.versions import covers

AWAITING = 5.0
"""Seconds after which to check again if an intermediate node has not reported its slice yet."""
NEVER = float("inf")
_LOADING = 2.0
"""Seconds that a plan waits for tails before it publishes local routes, or says that Triton is busy."""
_SEEN_LOADED = 30.0
"""Likewise for tails that published tables use: after a restart, the operator only has to see them."""
_COMPARED = ("uid", "generation", "labels", "annotations", "ownerReferences")
"""Metadata by which a published table differs from a rendered one; the generation stands for the spec."""


class ServerFull(Exception):  # noqa: N818 - not an error: another server is used
    """Tails do not fit on servers in whose place others can be used. Raised and caught within a plan."""

    def __init__(self, addresses: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(addresses)))
        self.addresses = addresses


def publish(draft: Draft, pool: DevicePool, tables: Sequence[Placement]) -> Blocked | float:
    """Publishes the tables; returns the seconds until the next check.

    Raises ServerFull if tails do not fit on a Triton server in whose place another one can be used.
    """
    # Tails of entry nodes that have let go of their sessions may be unloaded until these are loaded again.
    needing = [table for table in tables if not _rests(draft, table)]
    tails = residency.tails_of(needing, pool.spec, draft.settings.installation)
    loads = _loads(draft, pool, tails)
    fitting = [residency.without(table, loads.refused) for table in _with_their_tails(draft, tables, loads)]
    fitting = [table for table in fitting if table.spec.routes]
    try:
        if loads.errors:
            return _without_tails(draft, fitting, loads.errors)
        waiting = _publish(draft, fitting)
    except ObjectRefusedError as refusal:
        return Blocked(reasons.PLACED, reasons.OBJECT_REFUSED, str(refusal))
    needed = relaying.still_needed(draft.placements, _switched_nodes(draft))
    # An entry node without a feasible route, or whose new table is withheld, keeps its former routes.
    _clear(draft, {t.spec.node for t in tables} | {*needed, *draft.infeasible, *draft.withheld})
    again = AWAITING if waiting else NEVER
    if loads.refused:
        message = f"{'; '.join(loads.messages)}; only the routes without these tails are used until then"
        message = "; ".join([message, *_withholding(draft)])
        draft.found(Finding(reasons.PLACED, "False", reasons.TRITON_FULL, message))
        return NEVER
    if draft.own.refused:
        return Blocked(reasons.PLACED, reasons.OBJECT_REFUSED, "; ".join(draft.own.refused))
    published = [table.spec.node for table in tables if table.spec.node not in draft.withheld]
    message = f"routes are published at {', '.join(published)}"
    if draft.withheld:
        withholding = withheld.placed(draft.withheld)
        if not published:
            return withholding
        message = f"{withholding.message}; {message}"
        draft.found(Finding(reasons.PLACED, "False", withholding.reason, message))
        return again
    if waiting:
        message += f"; routes through {', '.join(waiting)} follow once the runtime there has loaded its slice"
    message = "; ".join([message, *([draft.servers] if draft.servers else []), *draft.own.notes])
    draft.found(Finding(reasons.PLACED, "True", reasons.PUBLISHED, message))
    return again


def withdraw(draft: Draft, message: str) -> None:
    """Has the runtimes of a service refuse requests with a message, without routes through Triton.

    The runtime of a service alone is removed, since it would serve nothing else.
    """
    if draft.isolation == "Dedicated":
        _clear(draft, set())
        return
    for node, published in {**draft.refusing, **draft.placements}.items():
        local = _local(published) or published
        spec = local.spec.model_copy(update={"refusal": message, "intermediate_slices": None})
        table = local.model_copy(update={"spec": spec, "status": None})
        _apply(draft, _unowned(table.body()), published)
        draft.placements.pop(node, None)


def _unowned(body: Object) -> Object:
    """Returns an object without what only the API server sets."""
    own = ("name", "namespace", "labels", "annotations", "ownerReferences")
    return body | {"metadata": {name: body["metadata"][name] for name in own if name in body["metadata"]}}


@dataclass(slots=True)
class _Loads:
    """The state of tails that servers lacked.

    refused: those that do not fit; messages: why. unread: why files could not be read from the model store.
    errors: what keeps others from being loaded, by the address of the server.
    """

    refused: set[TailKey] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    unread: dict[TailKey, StoreError] = field(default_factory=dict)
    errors: dict[str, OperatorError] = field(default_factory=dict)


def _loads(draft: Draft, pool: DevicePool, tails: Mapping[TailKey, Tail]) -> _Loads:
    """Has missing tails loaded.

    Raises ServerFull; NotKnownError for a moment, while a server that responds in time loads them.
    """
    found = _Loads()
    full, awaiting = set[str](), list[TailsAt]()
    for address in sorted({key.address for key in tails}):
        here = {key.name: tail for key, tail in sorted(tails.items()) if key.address == address}
        missing = here.keys() - draft.state.loaded.get(address, frozenset())
        if not missing:
            continue
        draft.loads.append(_load(draft, pool, address, [here[name] for name in sorted(here)]))
        outcome = draft.own.loads.get(address)
        if outcome is None or not missing <= outcome.tails:
            awaited = TailsAt(address, len(missing))
            if draft.waits(_SEEN_LOADED if missing <= _published(draft, address) else _LOADING):
                awaiting.append(awaited)
            found.errors[address] = TritonBusyError(f"Triton at {address} is busy: {awaited.doing}")
            continue
        unfit = missing & outcome.refused
        if unfit and address in draft.replaceable:
            full.add(address)
        if unfit:
            found.refused |= {TailKey(address, name) for name in unfit}
            found.messages.append(outcome.message)
        unread = dict(outcome.unread)
        if isinstance(outcome.error, StoreError):
            unread = dict.fromkeys(missing - unfit, outcome.error) | unread
        found.unread |= {TailKey(address, name): unread[name] for name in missing & unread.keys() - unfit}
        if missing - unfit - unread.keys():
            found.errors[address] = outcome.error or TritonBusyError(f"Triton at {address} loads tails again")
    if awaiting:
        raise NotKnownError(awaiting[0])
    if full - draft.full:
        raise ServerFull(frozenset(full))
    return found


def _with_their_tails(draft: Draft, tables: Sequence[Placement], loads: _Loads) -> list[Placement]:
    """Returns the tables, with others in place of those whose tails the model store does not provide."""
    unread = withheld.by_tails(tables, loads.unread)
    draft.withheld = unread | draft.withheld
    return [each if each.spec.node not in unread else _instead(draft, each) for each in tables]


def _withholding(draft: Draft) -> list[str]:
    """Returns what to say of withheld tables, if there are any."""
    return [withheld.placed(draft.withheld).message] if draft.withheld else []


def _instead(draft: Draft, table: Placement) -> Placement:
    """Returns the published table of a node; without one, the new table with its local routes, if any."""
    published = draft.placements.get(table.spec.node)
    if published is not None:
        return kept(published, {})
    routes = tuple(filter(_is_local, table.spec.routes))
    return table.model_copy(update={"spec": table.spec.model_copy(update={"routes": routes})})


def _published(draft: Draft, address: str) -> set[str]:
    """Returns the tails at a server that the service's published tables use."""
    found = residency.tail_keys(draft.own.placements)
    return {key.name for key in found if key.address == address}


def _load(draft: Draft, pool: DevicePool, address: str, tails: Sequence[Tail]) -> LoadTails:
    declared = next(
        (
            (index, each)
            for index, each in enumerate(pool.spec.triton_servers)
            if each.url == address and each.memory is not None
        ),
        None,
    )
    replaceable = address in draft.replaceable
    if declared is None:
        return LoadTails(draft.key, address, tuple(tails), replaceable=replaceable)
    index, server = declared
    field = f"DevicePool {pool.metadata.name}: spec.tritonServers[{index}].memory"
    return LoadTails(draft.key, address, tuple(tails), server.name, server.memory, field, replaceable)


def _without_tails(draft: Draft, tables: Sequence[Placement], errors: Mapping[str, OperatorError]) -> Blocked:
    """Publishes the tables that use no failing server; entry nodes without a table get their local route.

    errors: why tails are not loaded, by the address of the server.
    """
    failing = [table for table in tables if errors.keys() & _servers(table)]
    new = [local for table in failing if table.spec.node not in draft.placements and (local := _local(table))]
    because = errors[min(errors)]
    message = "; ".join([str(because), *_withholding(draft)])
    _publish(draft, [*(table for table in tables if table not in failing), *new])
    local_only = [table for table in failing if _is_local_only(draft, table)]
    if local_only:
        message += f"; local routes only at {', '.join(table.spec.node for table in local_only)} until then"
    if isinstance(because, TailRefusedError):
        return Blocked(reasons.PLACED, reasons.TAIL_REFUSED, message)
    if isinstance(because, TritonBusyError):
        return Blocked(reasons.PLACED, reasons.TRITON_BUSY, message, transient=True)
    reason = reasons.TRITON_UNREACHABLE
    if isinstance(because, TritonUntrustedError):
        reason = reasons.TRITON_UNTRUSTED
    elif isinstance(because, ControlDeniedError):
        reason = reasons.CONTROL_DENIED
    return Blocked(reasons.PLACED, reason, message, transient=True)


def _servers(table: Placement) -> set[str]:
    """Returns the addresses of the Triton servers that a table uses."""
    return {key.address for key in residency.tail_keys([table.body()])}


def _local(table: Placement) -> Placement | None:
    """Returns the table with its local routes alone; None if the mode has none."""
    routes = tuple(route for route in table.spec.routes if _is_local(route))
    if not routes:
        return None
    return table.model_copy(update={"spec": table.spec.model_copy(update={"routes": routes})})


def _is_local(route: Route) -> bool:
    return all(stage.address is None for stage in route.stages)


def _rests(draft: Draft, table: Placement) -> bool:
    """Whether the table is published, and its entry node has let go of its sessions."""
    published = draft.placements.get(table.spec.node)
    return published is not None and published.idle and covers(published.body(), table.body())


def _is_local_only(draft: Draft, table: Placement) -> bool:
    """Whether the entry node has, or gets, only the local routes of a table with more."""
    if all(map(_is_local, table.spec.routes)):
        return False
    published = draft.placements.get(table.spec.node)
    if published is None:
        return _local(table) is not None
    return all(map(_is_local, published.spec.routes))


def _publish(draft: Draft, tables: Sequence[Placement]) -> list[str]:
    """Publishes slices of intermediate nodes, then routes through them. Returns the nodes it waits for."""
    before, switched = dict(draft.placements), _switched_nodes(draft)
    slices = relaying.still_needed(draft.placements, switched)
    for node, needed in relaying.intermediate_slices(tables).items():
        slices[node] = slices.get(node, {}) | needed
    waiting: set[str] = set()
    for table in sorted(tables, key=lambda table: table.spec.node not in slices):
        now = relaying.publishable(table, before, switched)
        waiting |= relaying.awaited(table, now)
        final, node = relaying.with_intermediate_slices(now, slices.get(table.spec.node, {})), table.spec.node
        current = draft.placements.get(node)
        compared = Compared(final, _compared_fields(_as_seen(draft, current)))
        if current is None or compared != draft.covered.get(node):
            covered = _apply(draft, final.body(), current)
            draft.covered = {**draft.covered, node: compared if covered else None}
    return sorted(waiting)


def _compared_fields(live: Object | None) -> tuple[object, ...]:
    """Returns what `_apply` compares of a published table, with its spec by the generation."""
    metadata = {} if live is None else live["metadata"]
    return tuple(metadata.get(name) for name in _COMPARED)


def _apply(draft: Draft, body: Object, current: Placement | None) -> bool:
    """Has a table applied unless it is published; returns whether it is."""
    live = current.body() if current is not None else None
    if live is not None:
        ended = "candidate" in live["spec"] and "candidate" not in body["spec"]
        if covers(live, body) and not ended:
            return True
        body["metadata"].setdefault("annotations", {})[FORMER_TAILS_ANNOTATION] = residency.former_tails(live)
    draft.write(Apply(body, _as_seen(draft, current), own=live is None))
    return False


def _switched_nodes(draft: Draft) -> set[str]:
    return {node for node, placement in draft.placements.items() if placement.switched}


def _clear(draft: Draft, nodes: set[str]) -> None:
    """Removes former entry nodes; the namespace's loop removes the runtimes that nothing needs then."""
    for placements in (draft.placements, draft.former, draft.refusing):
        for node in [node for node in placements if node not in nodes]:
            draft.write(Delete(_as_seen(draft, placements[node]) or placements[node].body()))
            del placements[node]


def _as_seen(draft: Draft, placement: Placement | None) -> Object | None:
    """Returns the object of a Placement as the API server has it, in whatever version it was written."""
    if placement is None:
        return None
    name = placement.metadata.name
    return next((body for body in draft.own.placements if body["metadata"]["name"] == name), None)
