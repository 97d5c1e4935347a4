"""Computes Knative-style conditions from the results of the steps of a reconcile. Pure."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from edge_api import reasons
from edge_api.objects import Condition
from edge_api.reasons import ConditionType

Step = Literal["ModelReady", "Profiled", "Planned", "Placed"]
STEPS: Final[tuple[Step, ...]] = ("ModelReady", "Profiled", "Planned", "Placed")
Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition as observed in this reconcile."""

    type: ConditionType
    status: Status
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a step failed; later steps were skipped and the active routes are unchanged.

    transient: it will pass without a change to the service: a server does not respond, a measurement runs.
    again: seconds after which to retry even if nothing changes.
    """

    step: Step
    reason: str
    message: str
    transient: bool = False
    again: float = 30.0

    def finding(self) -> Finding:
        """Returns the condition; its status is Unknown if the cause is transient."""
        return Finding(
            self.step, "Unknown" if self.reason in UNDERWAY else "False", self.reason, self.message
        )


UNDERWAY = frozenset(
    {reasons.FETCHING, reasons.MEASURING_ON_REQUESTS, reasons.PROFILING, reasons.TRITON_BUSY}
)
"""Reasons of steps that only take time."""


def conditions(
    previous: Iterable[Condition],
    found: Iterable[Finding],
    order: Iterable[ConditionType],
    generation: int,
    now: datetime.datetime,
) -> tuple[Condition, ...]:
    """Returns the conditions in `order`: the new one, else the previous one, else Unknown.

    lastTransitionTime changes only if the status does.
    """
    before = {condition.type: condition for condition in previous}
    findings: Mapping[str, Finding] = {finding.type: finding for finding in found}
    return tuple(_condition(kind, before.get(kind), findings.get(kind), generation, now) for kind in order)


def condition(found: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """Returns the condition of a type; None if it is not among `found`."""
    return next((each for each in found if each.type == kind), None)


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
        found = Finding(kind, "Unknown", reasons.WAITING, "waiting for the conditions before it")
    kept = before is not None and before.status == found.status
    return Condition(
        type=kind,
        status=found.status,
        observed_generation=generation,
        reason=found.reason,
        message=found.message[:4096],
        last_transition_time=before.last_transition_time if before and kept else now.replace(microsecond=0),
    )
