"""The first step of a service's plan: its model, and the accuracies of its exits with codecs. Pure."""

from collections.abc import Mapping

from pydantic import ValidationError

from edge_api import ModelProfile, reasons
from edge_api.earlier import in_this_version
from edge_api.model_inputs import ModelInput
from edge_api.model_sources import ModelSource, Samples
from edge_api.rollouts import ModelStatus
from edge_operator.conditions import Blocked, Finding
from edge_operator.errors import StoreError
from edge_operator.pool import fetches, kept_states, manifests, recorded, shapes
from edge_operator.pool.drafts import Draft
from edge_operator.pool.facts import AccuraciesOf, CardOf
from edge_operator.pool.fetches import Fetch
from edge_operator.pool.remedies import explained
from edge_operator.pool.states import ServiceState
from edge_operator.store_answers import CardExit, CodecAccuracies, ModelCard
from edge_planning.errors import PlanningError


def model(draft: Draft) -> ModelCard | Blocked:
    """Returns the metadata: as the ModelProfile has them, else as the model store finds them."""
    source = recorded.resolved(draft.service, draft.own.placements)
    if draft.service.status is None or draft.service.status.model is None:
        # The status has it from now on, also while the store does not answer.
        draft.resolved = recorded.resolution(draft.service, draft.own.placements)
    draft.profile = profile_of(draft.own)
    tokens = bool(draft.settings.store_token)
    found = None if draft.lost else recorded.card_of(draft.profile, source, tokens=tokens)
    draft.recorded = found is not None
    card = found if found is not None else registered(draft)
    if isinstance(card, Blocked):
        return card
    learned = _learned(draft, card)
    if learned is not None and learned != source.inputs:
        # The status has them from now on, so that later plans and restarts measure at the same shapes.
        source = source.model_copy(update={"inputs": learned, "digest": card.digest})
        draft.recorded = False
        try:
            card = draft.lookups.get(CardOf(draft.key, source))
        except StoreError as error:
            return _refused(draft, source, error)
    draft.resolved = ModelStatus(storage_uri=source.storage_uri, digest=card.digest, inputs=learned)
    if card.unknown_sizes:
        card = shapes.unplanned(card, _unknown(card))
    try:
        manifests.planned_model(draft.key.name, card)
    except PlanningError as error:
        reason, message = explained(error, draft.key.name, draft.service.spec.device_pool)
        return Blocked(reasons.MODEL_READY, reason, message)
    if wrong := kept_states.problem(draft.service.spec.model, card):
        return Blocked(reasons.MODEL_READY, reasons.BAD_REQUEST, wrong)
    if card.local and draft.service.spec.mode == "CloudOnly":
        message = (
            f'spec.mode: "CloudOnly" serves no request at its entry node, but {card.local}: choose another'
        )
        return Blocked(reasons.MODEL_READY, reasons.BAD_REQUEST, message)
    exits = ", ".join(f"{e.name} ({_accuracy(e)})" for e in card.exits)
    message = f"{card.digest[:19]}… has the exits {exits}"
    if card.local:
        message += f"; {card.local}"
    draft.found(Finding(reasons.MODEL_READY, "True", reasons.FETCHED, message))
    return card


def _learned(draft: Draft, card: ModelCard) -> tuple[ModelInput, ...] | None:
    """Returns the shapes of requests as inputs, if nothing else states shapes; None before requests."""
    status = draft.service.status
    before = status.model.inputs if status is not None and status.model is not None else None
    if draft.service.spec.model.inputs is not None or not (card.unknown_sizes or before):
        return None
    return shapes.learned_inputs(shapes.counted(draft.known.values()), before)


def _unknown(card: ModelCard) -> str:
    sizes = ", ".join(f"{e.input} dimension {e.dimension} ({e.symbol})" for e in card.unknown_sizes)
    return (
        f"the file leaves sizes open: {sizes}: write spec.model.{card.advice} with the sizes of requests, or "
        f"maxShape and typicalShape; until sizes are known, requests are served at their entry nodes by the "
        f"whole model"
    )


def registered(draft: Draft) -> ModelCard | Blocked:
    """Returns the metadata as the model store finds them, once it has the file. Raises NotKnownError."""
    source = recorded.resolved(draft.service, draft.own.placements)
    wanted = dict[fetches.Field, Fetch]()
    for field, part in _files(draft.service.spec.model):
        fetch = fetches.needed(draft, part, field)
        if isinstance(fetch, Blocked):
            return fetch
        if fetch is not None:
            wanted[field] = fetch
    if wanted:
        return _fetched(draft, source, wanted)
    unresolved = CardOf(draft.key, draft.service.spec.model)
    # It was registered under the address, before the status named the digest.
    same = source.inputs == unresolved.source.inputs
    card = draft.lookups.known(unresolved) if same else None
    if card is not None and source.digest in (None, card.digest):
        return card
    try:
        return draft.lookups.get(CardOf(draft.key, source))
    except StoreError as error:
        return _refused(draft, source, error)


def end_fetches(draft: Draft) -> None:
    """Ends the Jobs that fetch from addresses which the service does not have any more."""
    source = draft.service.spec.model
    found = [fetches.needed(draft, part, field) for field, part in _files(source)]
    if source.validation is not None:
        found.append(fetches.needed(draft, source.validation, "validation"))
    fetches.end_others(draft, *(each for each in found if isinstance(each, Fetch)))


def _files(source: ModelSource) -> list[tuple[fetches.Field, ModelSource | Samples]]:
    """Returns what the metadata are made from: the model, and its samples if it has any."""
    found: list[tuple[fetches.Field, ModelSource | Samples]] = [("model", source)]
    if source.samples is not None:
        found.append(("samples", source.samples))
    return found


def _fetched(draft: Draft, source: ModelSource, wanted: Mapping[fetches.Field, Fetch]) -> ModelCard | Blocked:
    """Returns the metadata of a model that Jobs put into the store, or whose samples they put there."""
    after = " ".join(each.done for each in wanted.values())
    unresolved = CardOf(draft.key, _stored(draft.service.spec.model, wanted), after)
    card = draft.lookups.known(unresolved)
    if card is not None and source.digest in (None, card.digest):
        return card
    try:
        return draft.lookups.get(CardOf(draft.key, _stored(source, wanted), after))
    except StoreError as error:
        if error.reason != reasons.NOT_FOUND:
            return _refused(draft, source, error)
        named = [each for each in wanted.values() if each.order.stored_as in str(error)]
        missing = [each for each in wanted.values() if not each.done] or named or list(wanted.values())
        blocked = [fetches.fetch(draft, each) for each in missing]
        return next((each for each in blocked if each.reason != reasons.FETCHING), blocked[0])


def _stored(source: ModelSource, wanted: Mapping[fetches.Field, Fetch]) -> ModelSource:
    """Returns the source with the addresses at which the store has fetched files."""
    there = {field: {"storage_uri": fetch.address, "secret_name": None} for field, fetch in wanted.items()}
    found = source.model_copy(update=there.get("model", {}))
    if source.samples is None or "samples" not in there:
        return found
    return found.model_copy(update={"samples": source.samples.model_copy(update=there["samples"])})


def accuracies(draft: Draft, card: ModelCard) -> CodecAccuracies | Blocked | None:
    """Returns the accuracies with codecs, if there is validation data; incomplete while they are measured."""
    validation = draft.service.spec.model.validation
    if validation is None:
        return None
    if draft.profile is not None and recorded.measured_on(draft.profile, validation):
        found = manifests.codec_accuracies(draft.profile.spec)
        if found is not None and draft.profile.spec.model.digest == card.digest:
            return found
    exits = tuple((e.name, e.outputs, e.accuracy) for e in card.exits)
    fetch = fetches.needed(draft, validation, "validation")
    if isinstance(fetch, Blocked):
        return fetch
    after = "" if fetch is None else fetch.done
    there = {} if fetch is None else {"storage_uri": fetch.address, "secret_name": None}
    read = validation.model_copy(update=there)
    try:
        return draft.lookups.get(AccuraciesOf(draft.key.namespace, card.digest, exits, read, card, after))
    except StoreError as error:
        if fetch is not None and error.reason == reasons.NOT_FOUND:
            return fetches.fetch(draft, fetch)
        message = _in_the_manifest(error, validation.storage_uri, "spec.model.validation")
        return Blocked(reasons.MODEL_READY, error.reason, message, error.transient)


def profile_of(own: ServiceState) -> ModelProfile | None:
    """Returns the service's ModelProfile, unless another version wrote it: it is then rewritten."""
    if own.profile is None:
        return None
    try:
        return ModelProfile.model_validate(in_this_version(own.profile))
    except ValidationError:
        return None


def _accuracy(exit_: CardExit) -> str:
    return "no accuracy stated, planned with 1" if exit_.accuracy is None else f"{exit_.accuracy:g}"


def _refused(draft: Draft, source: ModelSource, error: StoreError) -> Blocked:
    message = _in_the_manifest(error, source.storage_uri)
    if source.digest != draft.service.spec.model.digest and error.reason == reasons.DIGEST_MISMATCH:
        message += (
            f"; the service was resolved to {source.digest} before: set spec.model.digest to the digest "
            "of the new bytes to serve them"
        )
    return Blocked(reasons.MODEL_READY, error.reason, message, error.transient)


def _in_the_manifest(error: StoreError, uri: str, where: str = "spec.model") -> str:
    """Returns the store's message with the field of the manifest in place of the store's field."""
    field, _, sentence = str(error).partition(": ")
    if field in ("model", "path"):
        return f'{where}.storageUri: "{uri}": {sentence}'
    if field.startswith("validation"):
        return f"spec.model.{error}"
    return f"spec.{error}" if field.startswith("model.") else str(error)
