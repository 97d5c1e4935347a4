"""Decides which slices a node runs for other nodes, and which routes can be published already. Pure.

A slice must be loaded before a table uses it and until no runtime uses it any more. It is therefore published
first and removed last.
"""

from collections.abc import Collection, Iterable, Mapping

from edge_api import Placement
from edge_api.placements import IntermediateSlice, Route


def intermediate_slices(tables: Iterable[Placement]) -> dict[str, dict[str, IntermediateSlice]]:
    """Returns the slices that the routes of the tables need at other edge nodes."""
    found: dict[str, dict[str, IntermediateSlice]] = {}
    for table in tables:
        for route in table.spec.routes:
            for node, needed in _needed(route):
                found.setdefault(node, {})[needed.model] = needed
    return found


def still_needed(
    published: Mapping[str, Placement], switched: Collection[str]
) -> dict[str, dict[str, IntermediateSlice]]:
    """Returns the published slices that a runtime may still use.

    published: by node. switched: the nodes whose runtimes have loaded their published table. Until then, a
    runtime may use any slice at another node.
    """
    used = intermediate_slices(published.values())
    found: dict[str, dict[str, IntermediateSlice]] = {}
    for node, placement in published.items():
        settled = all(other in switched for other in published if other != node)
        for needed in placement.spec.intermediate_slices or ():
            if not settled or needed.model in used.get(node, {}):
                found.setdefault(node, {})[needed.model] = needed
    return found


def with_intermediate_slices(table: Placement, slices: Mapping[str, IntermediateSlice]) -> Placement:
    """Returns the table with the slices that its node runs for others, sorted."""
    ordered = tuple(slices[name] for name in sorted(slices))
    if (ordered or None) == table.spec.intermediate_slices:
        return table
    return table.model_copy(
        update={"spec": table.spec.model_copy(update={"intermediate_slices": ordered or None})}
    )


def publishable(table: Placement, published: Mapping[str, Placement], switched: Collection[str]) -> Placement:
    """Returns the table without the routes whose intermediate nodes have not loaded their slices yet.

    A slice is loaded once its node's runtime has loaded the table that names it. A slice that this node's
    published table uses is loaded, even while that runtime loads a newer table.
    """
    before = published.get(table.spec.node)
    used = intermediate_slices([before]) if before is not None else {}
    ready = {
        (node, needed.model)
        for node, placement in published.items()
        for needed in placement.spec.intermediate_slices or ()
        if node in switched or needed.model in used.get(node, {})
    }
    routes = tuple(
        route
        for route in table.spec.routes
        if all((node, needed.model) in ready for node, needed in _needed(route))
    )
    if len(routes) == len(table.spec.routes):
        return table
    return table.model_copy(update={"spec": table.spec.model_copy(update={"routes": routes})})


def awaited(table: Placement, publishable_now: Placement) -> set[str]:
    """Returns the nodes that must load their slices before all routes of the table are published."""
    there = {route.name for route in publishable_now.spec.routes}
    left = (route for route in table.spec.routes if route.name not in there)
    return {node for route in left for node, _ in _needed(route)}


def _needed(route: Route) -> Iterable[tuple[str, IntermediateSlice]]:
    """Yields each stage at another edge node as the slice that runs there, with the stages after it."""
    for position, stage in enumerate(route.stages):
        if stage.runtime == "Edge" and stage.address is not None and stage.model is not None:
            here = stage.model_copy(update={"address": None, "model": None})
            yield (
                stage.place,
                IntermediateSlice(model=stage.model, stages=(here, *route.stages[position + 1 :])),
            )
