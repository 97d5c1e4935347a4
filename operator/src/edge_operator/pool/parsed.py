"""The objects of a service as parsed: those that stayed the same are not parsed again. Pure.

A service is planned several times for each of its changes, and most of them change one of its objects. The
spec of a Placement, which is its largest part, is parsed again only if its generation changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import ValidationError

from edge_api import Placement
from edge_api.earlier import in_this_version
from edge_api.inferenceservices import InferenceService
from edge_api.objects import ObjectMeta
from edge_api.placement_reports import PlacementStatus
from edge_operator.cluster import Object
from edge_operator.reading import read


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was parsed, with the object that it was parsed from.

    placements: by uid; without those that this version cannot read.
    """

    service: tuple[Object, InferenceService] | None = None
    placements: Mapping[str, tuple[Object, Placement]] = field(default_factory=lambda: MappingProxyType({}))


def parsed(service: Object, placements: Iterable[Object], before: Parsed) -> Parsed:
    """Returns a service and its Placements. Raises ValidationError if the service cannot be read.

    A Placement that this version cannot read is left out: the next plan replaces it.
    """
    known = before.service if before.service is not None and before.service[0] is service else None
    found = {}
    for body in placements:
        uid = body["metadata"].get("uid") or body["metadata"]["name"]
        try:
            found[uid] = body, _placement(body, before.placements.get(uid))
        except ValidationError:
            continue
    return Parsed(known or (service, read(InferenceService, service)), MappingProxyType(found))


def _placement(body: Object, before: tuple[Object, Placement] | None) -> Placement:
    if before is None:
        return Placement.model_validate(in_this_version(body))
    earlier, known = before
    if earlier is body:
        return known
    metadata = body["metadata"]
    generation = metadata.get("generation")
    if generation is None or generation != earlier["metadata"].get("generation"):
        return Placement.model_validate(in_this_version(body))
    status = body.get("status")
    return known.model_copy(
        update={
            "metadata": ObjectMeta.model_validate(metadata),
            "status": None if status is None else PlacementStatus.model_validate(status),
        }
    )
