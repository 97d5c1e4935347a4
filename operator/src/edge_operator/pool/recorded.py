"""What objects record of an earlier reconcile: a restart calls no store and serves the same bytes. Pure.

`status.model` of a service has the digest that its address resolved to: bytes that change at the address are
not rolled out. Its ModelProfile has the model's metadata and measurements, with annotations that tell for
which spec they were made.
"""

import hashlib
import json
from collections.abc import Iterable

from edge_api import ModelProfile, Placement, reasons
from edge_api.inferenceservices import InferenceService
from edge_api.model_sources import ModelSource, Validation
from edge_api.modelprofiles import ModelProfileSpec
from edge_api.objects import written
from edge_api.rollouts import ModelStatus
from edge_api.shapes import by_input
from edge_api.tensors import Slice, Tensor
from edge_operator.cluster import Object
from edge_operator.conditions import condition
from edge_operator.keys import SliceKey
from edge_operator.names import CUTS_ANNOTATION, SOURCE_ANNOTATION, VALIDATION_ANNOTATION
from edge_operator.pool.codecs import refusals
from edge_operator.pool.pieces import pieces
from edge_operator.store_answers import CardCut, CardExit, CardShape, CodecAccuracies, ModelCard
from edge_planning import plans

Ends = Iterable[tuple[str, str]]


def resolved(service: InferenceService, placements: Iterable[Object] = ()) -> ModelSource:
    """Returns the source with what the spec leaves to find: the digest that its address resolved to earlier.

    Shapes that were taken from requests are those of the inputs, unless the spec states them. placements: of
    the service, as `resolution` reads them.
    """
    source, before = service.spec.model, resolution(service, placements)
    if before is None or before.storage_uri != source.storage_uri:
        return source
    if source.inputs is None and before.inputs:
        source = source.model_copy(update={"inputs": before.inputs})
    return source if source.digest is not None else source.model_copy(update={"digest": before.digest})


def resolution(service: InferenceService, placements: Iterable[Object]) -> ModelStatus | None:
    """Returns what the model's address resolved to: by the status, else by the service's Placements.

    Versions that did not write status.model published tables of the digest that they found. It counts if
    the condition ModelReady is of the present spec. The model store gives a namespace what was stored before
    it required tokens only by its digest.
    """
    status = service.status
    if status is None or status.model is not None:
        return None if status is None else status.model
    found = condition(status.conditions, reasons.MODEL_READY)
    if found is None or found.observed_generation != service.metadata.generation:
        return None
    if found.status != "True" and found.reason != reasons.UNREACHABLE:
        return None
    digests = {str(body["spec"]["model"]["digest"]) for body in placements}
    if len(digests) != 1:
        return None
    return ModelStatus(storage_uri=service.spec.model.storage_uri, digest=digests.pop())


def annotations(
    source: ModelSource,
    ends: Ends,
    accuracies: CodecAccuracies | None,
    spec: ModelProfileSpec,
    *,
    tokens: bool = False,
) -> dict[str, str]:
    """Returns the annotations of a ModelProfile. ends: those between which cuts were searched.

    tokens: whether the model was registered for the namespace, as a store that requires tokens needs.
    """
    found = {SOURCE_ANNOTATION: _source(source, tokens=tokens), CUTS_ANNOTATION: _fingerprint(sorted(ends))}
    kept = accuracies is not None and accuracies.complete and not refusals(accuracies)
    if kept and source.validation is not None and spec.codecs is not None:
        found[VALIDATION_ANNOTATION] = _fingerprint(written(source.validation))
    return found


def card_of(profile: ModelProfile | None, source: ModelSource, *, tokens: bool = False) -> ModelCard | None:
    """Returns the metadata in a ModelProfile, with the cuts that were found; None if of another source.

    tokens: whether the store requires tokens: what was registered before it did is registered again.
    """
    if profile is None or profile.metadata.annotations.get(SOURCE_ANNOTATION) != _source(
        source, tokens=tokens
    ):
        return None
    return metadata(profile.spec) if source.digest in (None, profile.spec.model.digest) else None


def metadata(profile: ModelProfileSpec) -> ModelCard | None:
    """Returns the metadata in a ModelProfile, whatever its source; None if it was written without."""
    model = profile.model
    outputs = model.outputs
    if outputs is None:
        return None
    exits = tuple(
        CardExit(
            name=e.name,
            outputs=e.names,
            accuracy=e.accuracy,
            response_names=e.response_names or "Final",
            tensors=_named(outputs, e.names),
            cuts=tuple(
                CardCut(
                    tensor=c.tensor,
                    tensors=c.names,
                    sent=c.sent or (),
                    bytes=c.bytes,
                    bytes_at=c.bytes_at or (),
                )
                for c in e.cuts
            ),
            response_bytes=e.response_bytes or 0,
            response_bytes_at=e.response_bytes_at or (),
        )
        for e in model.exits
    )
    return ModelCard(
        digest=model.digest,
        size=model.size or 0,
        inputs=model.inputs,
        exits=exits,
        input_copies=model.input_copies or (),
        local=model.stays_local or "",
        warm_up=model.warm_up,
        shapes=tuple(CardShape(inputs=by_input(each.inputs)) for each in model.shapes or ()),
    )


def _named(outputs: tuple[Tensor, ...], names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Returns the full model's outputs under the names of an exit's; none if they are not as many."""
    if len(outputs) != len(names):
        return ()
    return tuple(t.model_copy(update={"name": name}) for t, name in zip(outputs, names, strict=True))


def has_cuts_between(profile: ModelProfile, ends: Ends) -> bool:
    """Whether the cuts in a ModelProfile were searched between these device classes."""
    return profile.metadata.annotations.get(CUTS_ANNOTATION) == _fingerprint(sorted(ends))


def measured_on(profile: ModelProfile, validation: Validation) -> bool:
    """Whether the accuracies in a ModelProfile were all measured on this validation data."""
    return profile.metadata.annotations.get(VALIDATION_ANNOTATION) == _fingerprint(written(validation))


def published_slices(
    card: ModelCard, tables: Iterable[plans.RouteTable], published: Iterable[Placement]
) -> dict[SliceKey, Slice]:
    """Returns the slices of planned routes that a Placement has already."""
    found: dict[SliceKey, Slice] = {}
    placements = [each for each in published if each.spec.model.digest == card.digest]
    routes = {(r.name, r.codecs or ()): r.stages for placement in placements for r in placement.spec.routes}
    for route in (route for table in tables for route in table.routes):
        needed = pieces(card, route)
        slices = [stage.slice for stage in routes.get((route.name, needed.codecs), ())]
        if len(slices) == len(needed.keys) and _ends_in(slices[-1], needed.keys[-1]):
            found |= dict(zip(needed.keys, slices, strict=True))
    return found


def _ends_in(slice_: Slice, key: SliceKey) -> bool:
    """Whether the slice has the outputs of the key.

    A spec can give the name of an exit to other outputs, and an earlier version sent all tensors of a cut.
    """
    return tuple(tensor.name for tensor in slice_.outputs) == key.outputs


def _fingerprint(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _source(source: ModelSource, *, tokens: bool) -> str:
    """Returns a fingerprint of what the metadata depends on but the digest, which is compared by itself."""
    found = written(source.model_copy(update=dict.fromkeys(("validation", "digest", "first_requests"))))
    return _fingerprint([found, "tokens"] if tokens else found)
