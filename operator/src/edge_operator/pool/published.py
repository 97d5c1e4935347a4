"""Reads the Placements of a service. Pure."""

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from edge_api import Placement
from edge_api.earlier import in_this_version
from edge_api.objects import ObjectMeta
from edge_operator.cluster import Object
from edge_operator.nodes.runtimes import is_current


def readable(bodies: Iterable[Object]) -> list[Placement]:
    """Returns the Placements that this version can read."""
    found = []
    for body in bodies:
        try:
            found.append(Placement.model_validate(in_this_version(body)))
        except ValidationError:
            continue
    return found


def by_node(
    parsed: Iterable[tuple[Object, Placement]],
) -> tuple[dict[str, Placement], dict[str, Placement]]:
    """Returns Placements of a service by node: those of this version, and those of an earlier one."""
    current: dict[str, Placement] = {}
    former: dict[str, Placement] = {}
    for body, placement in parsed:
        (current if is_current(body) else former)[placement.spec.node] = placement
    return current, former


def kept(published: Placement, notes: Mapping[str, str]) -> Placement:
    """Returns a published table, which stays, with other annotations."""
    body = published.body()
    names = ("name", "namespace", "labels", "ownerReferences")
    metadata = {name: body["metadata"][name] for name in names if name in body["metadata"]}
    annotations = {**published.metadata.annotations, **notes}
    meta = ObjectMeta.model_validate(metadata | {"annotations": annotations})
    return published.model_copy(update={"metadata": meta, "status": None})
