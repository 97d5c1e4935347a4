"""Slices that the model store has lost, by what runtimes report. Pure.

The operator requests a slice once, and after a restart takes it from the published Placement. A store without
a persistent volume loses its slices with its pod: runtimes that start later cannot fetch them until the
operator requests them again.
"""

from collections.abc import Collection, Iterable, Mapping

from edge_api import Placement, reasons
from edge_api.tensors import Slice
from edge_operator.cluster import Object
from edge_operator.keys import SliceKey


def unloaded_slices(placements: Iterable[Placement]) -> frozenset[str]:
    """Returns the digests of the slices in tables whose runtime reports that it cannot load them."""
    return frozenset(
        stage.slice.digest
        for placement in placements
        if _cannot_load(placement)
        for route in placement.spec.routes
        for stage in route.stages
    )


def newly_unloaded(before: Iterable[Object], now: Iterable[Object]) -> frozenset[str]:
    """Returns the digests in tables whose runtime reports now, and did not before, that it cannot load."""
    known = {_of(body) for body in before if _says_so(body)}
    return frozenset(
        stage["slice"]["digest"]
        for body in now
        if _says_so(body) and _of(body) not in known
        for route in body["spec"].get("routes") or ()
        for stage in route.get("stages") or ()
        if "slice" in stage
    )


def without(slices: Mapping[SliceKey, Slice], lost: Collection[str]) -> dict[SliceKey, Slice]:
    """Returns the slices but those with a lost digest, which are to be requested again."""
    return {key: each for key, each in slices.items() if each.digest not in lost}


def _cannot_load(placement: Placement) -> bool:
    status = placement.status
    return (
        status is not None
        and not status.loaded
        and status.reason == reasons.CANNOT_LOAD
        and (status.observed_generation or 0) >= (placement.metadata.generation or 0)
    )


def _says_so(placement: Object) -> bool:
    status = placement.get("status") or {}
    reported = status.get("observedGeneration") or 0
    return (
        not status.get("loaded")
        and status.get("reason") == reasons.CANNOT_LOAD
        and reported >= (placement["metadata"].get("generation") or 0)
    )


def _of(placement: Object) -> tuple[object, ...]:
    metadata = placement["metadata"]
    return metadata.get("uid"), metadata.get("generation")
