"""Which relays a node must run for which tables, and which routes may be published already. Pure.

A relay must be there before a table uses it, and until no runtime uses one any more: so it is published first
and taken away last.
"""

from collections.abc import Collection, Iterable, Mapping

from edge_api import Placement
from edge_api.placements import Relay, Route

Relays = Mapping[str, Mapping[str, Relay]]
"""By node and model name."""


def relays_of(tables: Iterable[Placement]) -> dict[str, dict[str, Relay]]:
    """What the routes of the tables need at other edge nodes."""
    found: dict[str, dict[str, Relay]] = {}
    for table in tables:
        for route in table.spec.routes:
            for node, relay in _needed(route):
                found.setdefault(node, {})[relay.model] = relay
    return found


def still_needed(
    published: Mapping[str, Placement], switched: Collection[str]
) -> dict[str, dict[str, Relay]]:
    """Of the relays that are published, those that a runtime may still use.

    published: by node. switched: the nodes whose runtimes have what is published; while one has not, it may
    use whatever there is at another node.
    """
    used = relays_of(published.values())
    found: dict[str, dict[str, Relay]] = {}
    for node, placement in published.items():
        settled = all(other in switched for other in published if other != node)
        for relay in placement.spec.relays or ():
            if not settled or relay.model in used.get(node, {}):
                found.setdefault(node, {})[relay.model] = relay
    return found


def with_relays(table: Placement, relays: Mapping[str, Relay]) -> Placement:
    """The table with what its node runs for others, in one order."""
    ordered = tuple(relays[name] for name in sorted(relays))
    return table.model_copy(update={"spec": table.spec.model_copy(update={"relays": ordered or None})})


def publishable(table: Placement, published: Mapping[str, Placement], switched: Collection[str]) -> Placement:
    """The table without the routes whose relays do not answer yet.

    A relay answers when its node's runtime has loaded the table that names it. One that this node's published
    table uses has done so, whatever else that runtime is loading at the moment.
    """
    before = published.get(table.spec.node)
    used = relays_of([before]) if before is not None else {}
    ready = {
        (node, relay.model)
        for node, placement in published.items()
        for relay in placement.spec.relays or ()
        if node in switched or relay.model in used.get(node, {})
    }
    routes = tuple(
        route
        for route in table.spec.routes
        if all((node, relay.model) in ready for node, relay in _needed(route))
    )
    return table.model_copy(update={"spec": table.spec.model_copy(update={"routes": routes})})


def awaited(table: Placement, publishable_now: Placement) -> set[str]:
    """The nodes whose relays keep routes of the table from being published."""
    there = {route.name for route in publishable_now.spec.routes}
    left = (route for route in table.spec.routes if route.name not in there)
    return {node for route in left for node, _ in _needed(route)}


def _needed(route: Route) -> Iterable[tuple[str, Relay]]:
    """Each stage at another edge node, as the relay that it is there, with the stages behind it."""
    for position, stage in enumerate(route.stages):
        if stage.runtime == "Edge" and stage.address is not None and stage.model is not None:
            here = stage.model_copy(update={"address": None, "model": None})
            yield stage.place, Relay(model=stage.model, stages=(here, *route.stages[position + 1 :]))
