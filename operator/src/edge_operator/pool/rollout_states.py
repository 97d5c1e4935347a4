"""The roll-out of a new revision of a service's model: its next phase, from what was observed. Pure.

Without spec.rollout, the tables of the service change to the new model at once, and change back if an entry
node cannot load it. With it, the candidate is an InferenceService of its own, which is planned, loaded and
counted as any other; entry nodes give it a share of the requests. It becomes the current revision when their
tables have changed to its model.
"""

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf, sqrt
from typing import Final

from edge_api import reasons
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.model_sources import ModelSource
from edge_api.rollouts import Phase, Rollout, RolloutStatus

FAILURES: Final = 3
"""Errors of requests from which a candidate is returned from, if they are more than FAILED of them."""
FAILED: Final = 0.01
JUDGED_FROM: Final = 20
"""Requests from which a candidate is judged by the SLO."""
TOLERANCE: Final = 0.01
"""How much less accurate than the current revision a candidate can be, on the same validation data."""
MEASURING: Final = 600.0
"""Seconds for which a loaded candidate waits for its accuracy on the validation data."""
MEASURED_IN: Final = 300.0
"""Seconds after which a candidate is returned from whose profiling Jobs fail."""
LOOK_AGAIN: Final = 5.0
"""Seconds between two looks at a roll-out under way."""
_SURE: Final = 2.0
"""Standard deviations by which misses of the SLO must exceed the error budget."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate beside the current revision.

    Attributes:
        digest: Of its model; None until its address is resolved.
        loaded: Entry nodes that have loaded its newest table.
        unusable: Why it cannot be loaded at all or at a node; empty if nothing tells so.
        unmeasured: Why it could not be measured, which can pass; empty if it was, or is being measured.
        waits: Why it lacks routes at an entry node, or room for its next share; empty if it has both.
        differs: Which inputs or outputs are not those of the current revision; empty if all are.
        requests, met, failed: Its requests, those that met the SLO, and those that ended with an error.
        accuracy: Of the full model on the validation data; None while it is not measured.
        measured: Whether no accuracy is awaited.
    """

    digest: str | None = None
    loaded: frozenset[str] = frozenset()
    unusable: str = ""
    unmeasured: str = ""
    waits: str = ""
    differs: str = ""
    requests: int = 0
    met: int = 0
    failed: int = 0
    accuracy: float | None = None
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """What a roll-out is decided on.

    Attributes:
        nodes: Entry nodes with a table whose Node is Ready.
        digest: What the address of the tables that are planned now resolved to; None until then.
        loaded: Entry nodes that have loaded their newest table, by the digest of its model.
        unusable: Why entry nodes cannot load their newest table, by the digest of its model.
        accuracy: Of the current revision on the validation data; None if it is not measured.
        meets_slo: False while the current revision misses its SLO, too.
        candidate: The revision beside the current one; None without a roll-out.
        compared, agreed: Requests whose outputs were compared, and those that agreed.
        promote, abort: The values of the annotations.
    """

    nodes: frozenset[str] = frozenset()
    digest: str | None = None
    loaded: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    accuracy: float | None = None
    meets_slo: bool = True
    candidate: Candidate | None = None
    compared: int = 0
    agreed: int = 0
    promote: str = ""
    abort: str = ""

    def have_loaded(self, digest: str | None) -> bool:
        """Whether all entry nodes have loaded a table of this model."""
        return bool(self.nodes) and digest is not None and self.nodes <= self.loaded.get(digest, frozenset())


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, which is to be stored, and what to do by the state that is stored.

    What is done changes what is observed, such as that entry nodes have loaded their tables. So it is done
    only once the state that it follows from is stored.

    Attributes:
        status: The next state; None while nothing was loaded yet.
        source: The model to plan the service's tables for.
        beside: The model of the candidate to load beside it; None for no candidate.
        weight: Percentage of the requests that the candidate answers.
        shadow: Percentage of the other requests that the candidate computes, too.
        again: Seconds until the next look.
    """

    status: RolloutStatus | None
    source: ModelSource
    beside: ModelSource | None = None
    weight: int = 0
    shadow: int = 0
    again: float = inf

    def waiting(self, message: str) -> "Decision":
        """Returns the same decision, whose status tells what it waits for."""
        if self.status is None or self.status.phase in ("Stable", "Returned"):
            return self
        return replace(self, status=self.status.model_copy(update={"message": message[:1000]}))


def revision_name(service: str, model: ModelSource) -> str:
    """Returns the name of a revision: of at most 40 characters, as that of an InferenceService."""
    text = f"{service} {model.storage_uri} {model.digest}"
    return f"{service[:31].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def served_source(status: RolloutStatus | None) -> ModelSource | None:
    """Returns the model that serves, with its digest; None before one was loaded."""
    if status is None or status.served is None:
        return None
    return ModelSource.model_validate_json(status.served)


def is_same(wanted: ModelSource, served: ModelSource) -> bool:
    """Whether a source is the revision that serves: without a digest, whatever the address has now."""
    return wanted.storage_uri == served.storage_uri and wanted.digest in (None, served.digest)


def planned_share(rollout: Rollout | None, status: RolloutStatus | None) -> int:
    """Returns the percentage of the requests that a candidate is planned for: at most until the next step."""
    if rollout is None or status is None or status.phase not in ("Loading", "Shadowing", "Shifting"):
        return 100
    weights = [step.weight for step in rollout.steps] + [100]
    if status.phase == "Shifting":
        step = min(status.step or 0, len(weights) - 1)
        return max(weights[step : step + 2])
    return max(weights[0], rollout.shadow.share if rollout.shadow is not None else 0)


def decide(
    service: str,
    spec: InferenceServiceSpec,
    before: RolloutStatus | None,
    seen: Seen,
    now: datetime.datetime,
) -> Decision:
    """Returns the next state of a service's roll-out."""
    wanted, served = spec.model, served_source(before)
    if before is None or served is None or is_same(wanted, served):
        return _stable(wanted, served, before, seen, now)
    name = revision_name(service, wanted)
    state = before
    if before.revision != name:
        state = _begun("Loading", before, now, revision=name, step=None, weight=None)
        seen = replace(seen, candidate=None, compared=0, agreed=0)  # they are of another revision
    state = state.model_copy(update={"compared": seen.compared, "agreed": seen.agreed})
    machine = _Rollout(spec, state, served, seen, now)
    found = machine.next()
    again = replace(machine, state=found).again
    if before.revision != name:  # what is done follows from the spec alone
        return Decision(found, wanted if spec.rollout is None else served, again=again)
    return replace(machine.done(), status=found, again=again)


def _stable(
    wanted: ModelSource,
    served: ModelSource | None,
    before: RolloutStatus | None,
    seen: Seen,
    now: datetime.datetime,
) -> Decision:
    digest = wanted.digest or (served.digest if served is not None else seen.digest)
    if served is None and not seen.have_loaded(digest):
        return Decision(None, wanted)
    text = wanted.model_copy(update={"digest": digest}).model_dump_json(by_alias=True, exclude_none=True)
    left = before.revision if before is not None and seen.candidate is not None else None
    again = inf if left is None else LOOK_AGAIN
    if before is not None and before.phase == "Stable":
        stable = before.model_copy(update={"served": text, "revision": left})
        return Decision(stable, wanted, again=again)
    stable = RolloutStatus(phase="Stable", since=now.replace(microsecond=0), served=text, revision=left)
    return Decision(stable, wanted, again=again)


def _begun(phase: Phase, before: RolloutStatus, now: datetime.datetime, **changed: object) -> RolloutStatus:
    since = now.replace(microsecond=0)
    none = {"reason": None, "message": None}
    return before.model_copy(update={"phase": phase, "since": since, **none, **changed})


@dataclass(frozen=True, slots=True)
class _Rollout:
    spec: InferenceServiceSpec
    state: RolloutStatus
    served: ModelSource
    seen: Seen
    now: datetime.datetime

    def next(self) -> RolloutStatus:
        state, seen = self.state, self.seen
        if state.phase in ("Returned", "Stable"):
            return state
        if seen.abort == state.revision:
            return self._returned(reasons.ROLLOUT_ABORTED, "aborted by annotation")
        if self._in_place:
            if state.phase != "Loading":  # spec.rollout was removed
                state = _begun("Loading", state, self.now, step=None, weight=None)
            return replace(self, state=state).replaced()
        if state.phase == "Promoting":
            problem = self._problem()
            return self._returned(*problem) if problem else self.replaced()
        return self._beside()

    @property
    def _in_place(self) -> bool:
        """Whether the tables of the service change to the new model without a candidate beside it."""
        return self.spec.rollout is None and self.state.phase != "Promoting"

    @property
    def target(self) -> str | None:
        """The digest of the new model."""
        wanted = self.spec.model.digest
        if wanted is not None:
            return wanted
        if self._in_place:
            return self.seen.digest
        candidate = self.seen.candidate
        return candidate.digest if candidate is not None else self.seen.digest

    def replaced(self) -> RolloutStatus:
        """Returns the state while the tables of the service change to the new model."""
        target = self.target
        if target is not None and target in self.seen.unusable:
            return self._returned(reasons.CANDIDATE_NOT_LOADED, self.seen.unusable[target])
        if not self.seen.have_loaded(target):
            return self.state
        text = self.spec.model.model_copy(update={"digest": target}).model_dump_json(
            by_alias=True, exclude_none=True
        )
        since = self.now.replace(microsecond=0)
        return RolloutStatus(phase="Stable", since=since, served=text, revision=self.state.revision)

    def _beside(self) -> RolloutStatus:
        """Returns the state while the candidate is beside the current revision."""
        state, candidate, seen = self.state, self.seen.candidate, self.seen
        problem = self._problem()
        if problem:
            return self._returned(*problem)
        if state.phase == "Loading":
            if candidate is None or not seen.nodes or not seen.nodes <= candidate.loaded:
                waits = candidate.waits if candidate is not None else ""
                return state.model_copy(update={"message": waits or None})
            if not candidate.measured and self.elapsed < MEASURING:
                return state.model_copy(update={"message": "waits for its accuracy on the validation data"})
        if seen.promote == state.revision:
            return self._promoting()
        if candidate is not None and candidate.waits:
            return state.model_copy(update={"message": candidate.waits})
        if self._held or (state.phase != "Loading" and self.elapsed < self.duration):
            return state.model_copy(update={"message": None})
        return self._onwards()

    @property
    def _held(self) -> bool:
        rollout = self.spec.rollout
        return self.spec.suspend or (rollout is not None and rollout.paused)

    @property
    def elapsed(self) -> float:
        """Seconds since the phase or the step began."""
        since = self.state.since
        return inf if since is None else (self.now - since).total_seconds()

    @property
    def duration(self) -> float:
        """Seconds of the present phase or step; 0 if the spec has it no more."""
        rollout = self.spec.rollout
        if rollout is None:
            return 0.0
        if self.state.phase == "Shadowing":
            return float(rollout.shadow.duration) if rollout.shadow is not None else 0.0
        step = self.state.step or 0
        return float(rollout.steps[step].duration) if step < len(rollout.steps) else 0.0

    def _onwards(self) -> RolloutStatus:
        rollout, state = self.spec.rollout, self.state
        if rollout is None:
            return self._promoting()
        if state.phase == "Loading" and rollout.shadow is not None:
            return _begun("Shadowing", state, self.now, step=None, weight=0)
        step = 0 if state.phase != "Shifting" or state.step is None else state.step + 1
        if step >= len(rollout.steps):
            return self._promoting()
        return _begun("Shifting", state, self.now, step=step, weight=rollout.steps[step].weight)

    def _promoting(self) -> RolloutStatus:
        return _begun("Promoting", self.state, self.now, step=None, weight=100)

    def _returned(self, reason: str, message: str) -> RolloutStatus:
        changed = {"step": None, "weight": None, "reason": reason, "message": message[:1000]}
        return _begun("Returned", self.state, self.now, **changed)

    def _problem(self) -> tuple[str, str] | None:
        """Returns the reason and the message of what the candidate failed by."""
        found, seen = self.seen.candidate, self.seen
        if found is None:
            return None
        if found.unusable:
            return reasons.CANDIDATE_NOT_LOADED, found.unusable
        if found.unmeasured and self.state.phase == "Loading" and self.elapsed >= MEASURED_IN:
            return reasons.CANDIDATE_NOT_LOADED, found.unmeasured
        if found.differs:
            return reasons.CANDIDATE_DIFFERS, found.differs
        if found.failed >= FAILURES and found.failed > FAILED * found.requests:
            said = f"{found.failed} of {found.requests} requests ended with an error"
            return reasons.CANDIDATE_FAILS, said
        missed = found.requests - found.met
        share = self.spec.slo.objective_share
        allowed = found.requests * (1 - share)
        if found.requests >= JUDGED_FROM and missed > allowed + _SURE * sqrt(allowed) and seen.meets_slo:
            said = f"{missed} of {found.requests} requests missed {self.spec.slo.latency}"
            return reasons.CANDIDATE_MISSES_SLO, f"{said}; the objective is {share:.1%}"
        return self._inaccuracy(found)

    def _inaccuracy(self, found: Candidate) -> tuple[str, str] | None:
        if found.accuracy is None:
            return None
        least, known = self.spec.slo.min_accuracy, self.seen.accuracy
        said = f"accuracy {found.accuracy:.3g} on spec.model.validation"
        if least is not None and found.accuracy < least:
            return reasons.CANDIDATE_INACCURATE, f"{said}; spec.slo.minAccuracy is {least:g}"
        if known is not None and found.accuracy < known - TOLERANCE:
            return reasons.CANDIDATE_INACCURATE, f"{said}; that of the current revision is {known:.3g}"
        return None

    @property
    def again(self) -> float:
        """Seconds until the next look."""
        if self.state.phase in ("Returned", "Stable"):
            return inf if self.seen.candidate is None else LOOK_AGAIN
        timed = self.state.phase in ("Shadowing", "Shifting") and not self._held
        return min(LOOK_AGAIN, max(self.duration - self.elapsed, 0.0)) if timed else LOOK_AGAIN

    def done(self) -> Decision:
        """Returns what to do in the present state."""
        wanted, state, rollout = self.spec.model, self.state, self.spec.rollout
        if state.phase == "Returned":
            return Decision(state, self.served)
        if state.phase == "Promoting":
            pinned = wanted.model_copy(update={"digest": self.target})
            beside = wanted if self.seen.candidate is not None else None
            return Decision(state, pinned, beside, state.weight or 0)
        if rollout is None:
            return Decision(state, wanted)
        shadowed = state.phase == "Shadowing" and rollout.shadow is not None
        share = rollout.shadow.share if shadowed and rollout.shadow is not None else 0
        return Decision(state, self.served, wanted, state.weight or 0, share)
