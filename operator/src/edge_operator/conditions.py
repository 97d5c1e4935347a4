"""What the steps of a reconcile found, and how that becomes Knative-style conditions. Pure."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from edge_api.objects import Condition

Step = Literal["ModelReady", "Profiled", "Planned", "Placed"]
STEPS: tuple[Step, ...] = ("ModelReady", "Profiled", "Planned", "Placed")
ConditionType = Literal["Ready", "ModelReady", "Profiled", "Planned", "Placed", "SLOMet"]
Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition as it was found just now."""

    type: ConditionType
    status: Status
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a step could not be done; the steps after it were not tried and what already serves was left alone.

    transient: nothing is wrong with the service itself (something does not answer, a measurement is running).
    again: seconds after which trying again makes sense even if nothing changes.
    """

    step: Step
    reason: str
    message: str
    transient: bool = False
    again: float = 30.0

    def finding(self) -> Finding:
        """As a condition; one that will settle by itself is not yet False."""
        return Finding(
            self.step, "Unknown" if self.reason in _UNDERWAY else "False", self.reason, self.message
        )


PROFILING = "Profiling"
_UNDERWAY = {PROFILING}


def conditions(
    previous: Iterable[Condition],
    found: Iterable[Finding],
    order: Iterable[ConditionType],
    generation: int,
    now: datetime.datetime,
) -> tuple[Condition, ...]:
    """The conditions in `order`: what was found now, else what was there before, else Unknown.

    lastTransitionTime moves only when a status changes.
    """
    before = {condition.type: condition for condition in previous}
    findings: Mapping[str, Finding] = {finding.type: finding for finding in found}
    return tuple(_condition(kind, before.get(kind), findings.get(kind), generation, now) for kind in order)


def _condition(
    kind: ConditionType,
    before: Condition | None,
    found: Finding | None,
    generation: int,
    now: datetime.datetime,
) -> Condition:
    if found is None:
        if before is not None:
            return before
        found = Finding(kind, "Unknown", "Waiting", "waits for the conditions before it")
    kept = before is not None and before.status == found.status
    return Condition(
        type=kind,
        status=found.status,
        observed_generation=generation,
        reason=found.reason,
        message=found.message[:4096],
        last_transition_time=before.last_transition_time if before and kept else now.replace(microsecond=0),
    )
