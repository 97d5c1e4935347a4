"""Entry nodes that get no new table because the model store does not provide a slice of it. Pure.

All others get theirs. An entry node whose new table is withheld keeps its published one. Without any, it gets
the local routes that do not need the slice.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from edge_api import Placement, reasons
from edge_api.tensors import Tensor
from edge_operator.conditions import Blocked
from edge_operator.errors import StoreError
from edge_operator.keys import SliceKey, TailKey
from edge_operator.pool.pieces import pieces
from edge_operator.store_answers import ModelCard
from edge_planning.plans import RouteTable


def by_slices(
    card: ModelCard, tables: Mapping[str, RouteTable], failed: Mapping[SliceKey, StoreError]
) -> dict[str, Blocked]:
    """Returns why entry nodes get no new table, by node.

    tables: by node. failed: why the model store did not make slices.
    """
    found: dict[str, Blocked] = {}
    for node, table in tables.items():
        for route in table.routes:
            for key in pieces(card, route).keys:
                if key in failed:
                    found.setdefault(node, _blocked(key.inputs, key.outputs, route.exit, failed[key]))
    return found


def by_tails(tables: Iterable[Placement], unread: Mapping[TailKey, StoreError]) -> dict[str, Blocked]:
    """Returns why entry nodes get no new table, by node.

    unread: why the files of tails could not be read from the model store.
    """
    found: dict[str, Blocked] = {}
    for table in tables:
        for route in table.spec.routes:
            for stage in route.stages:
                error = unread.get(TailKey(stage.address or "", stage.model or ""))
                if error is not None:
                    start, end = _names(stage.slice.inputs), _names(stage.slice.outputs)
                    found.setdefault(table.spec.node, _blocked(start, end, route.exit, error))
    return found


def local_only(card: ModelCard, table: RouteTable, failed: Collection[SliceKey]) -> RouteTable | None:
    """Returns a table with the local routes whose slices there are; None without any."""
    routes = tuple(
        route
        for route in table.routes
        if route.cut is None and not any(key in failed for key in pieces(card, route).keys)
    )
    return replace(table, routes=routes) if routes else None


def placed(withheld: Mapping[str, Blocked]) -> Blocked:
    """Returns what withholds tables as the condition Placed. withheld: by node, at least one."""
    nodes: dict[str, list[str]] = defaultdict(list)
    for node, blocked in sorted(withheld.items()):
        nodes[blocked.message].append(node)
    said = [f"{message}: no new routes at {', '.join(names)} until then" for message, names in nodes.items()]
    transient = all(each.transient for each in withheld.values())
    return Blocked(reasons.PLACED, withheld[min(withheld)].reason, "; ".join(said), transient)


def _blocked(start: Sequence[str], end: Sequence[str], exit_: str, error: StoreError) -> Blocked:
    message = f"slice from {'+'.join(start)} to {'+'.join(end)} of exit {exit_}: {error}"
    return Blocked(reasons.PLACED, error.reason, message, error.transient)


def _names(tensors: Iterable[Tensor]) -> list[str]:
    return [tensor.name for tensor in tensors]
