"""What the status of a service says of the roll-out of its model. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from edge_api import reasons
from edge_api.inferenceservices import InferenceService
from edge_api.rollouts import ModelStatus, RolloutStatus
from edge_operator.conditions import Finding
from edge_operator.pool.revisions import resolved_digest, resolves
from edge_operator.pool.rollout_states import Decision, served_source
from edge_operator.pool.states import RevisionState


def model_status(
    found: ModelStatus | None,
    service: InferenceService,
    decision: Decision | None,
    revision: RevisionState | None,
) -> ModelStatus | None:
    """Returns the status of the model with its revisions."""
    status = decision.status if decision is not None else None
    if found is None or status is None:
        return found
    served = served_source(status)
    current = served.digest if served is not None else None
    own = found.digest if resolves(service, found) else None
    candidate = None
    if status.phase != "Stable":
        known = service.status.model if service.status is not None else None
        kept = known.candidate if known is not None and status.phase == "Returned" else None
        candidate = resolved_digest(revision) or own or service.spec.model.digest or kept
        candidate = None if candidate == current else candidate
    resolved = candidate if candidate is not None else own
    changed = {"phase": status.phase, "current": current, "candidate": candidate, "resolved_digest": resolved}
    return found.model_copy(update=changed)


_SAID: Final[Mapping[str, str]] = {
    "Loading": "entry nodes load it",
    "Shadowing": "it computes requests whose responses are those of the current revision",
    "Shifting": "it answers {weight} % of the requests",
    "Promoting": "it becomes the current revision",
}


def finding(service: InferenceService, decision: Decision | None) -> Finding | None:
    """Returns the condition RolledOut; None for a candidate."""
    if decision is None:
        return None
    status = decision.status
    if status is None:
        return Finding(reasons.ROLLED_OUT, "Unknown", reasons.WAITING, "no entry node has loaded a model yet")
    if status.phase == "Stable":
        return Finding(reasons.ROLLED_OUT, "True", reasons.CURRENT, "entry nodes serve spec.model")
    if status.phase == "Returned":
        said = f"{status.message}; the former revision serves"
        reason = reasons.known(status.reason, reasons.CANDIDATE_FAILS)
        return Finding(reasons.ROLLED_OUT, "False", reason, said)
    said = f"revision {status.revision}: {_SAID[status.phase].format(weight=status.weight)}"
    reason = reasons.ROLLING_OUT
    rollout = service.spec.rollout
    if status.message:
        said, reason = f"{said}: {status.message}", reasons.CANDIDATE_WAITS
    elif service.spec.suspend or (rollout is not None and rollout.paused):
        said, reason = f"{said}; paused", reasons.ROLLOUT_PAUSED
    return Finding(reasons.ROLLED_OUT, "Unknown", reason, said)


def progress(before: RolloutStatus | None, decision: Decision | None) -> Sequence[tuple[str, str, str]]:
    """Returns events (type, reason, message) for a phase or a step that has begun."""
    status = decision.status if decision is not None else None
    if status is None or status.phase not in _SAID:
        return ()
    now = (status.phase, status.step, status.revision)
    if before is not None and (before.phase, before.step, before.revision) == now:
        return ()
    said = _SAID[status.phase].format(weight=status.weight)
    return (("Normal", reasons.ROLLING_OUT, f"revision {status.revision}: {said}"),)
