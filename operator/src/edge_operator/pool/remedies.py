"""Maps each kind of planning error to the reason of a condition and to its fix."""

from dataclasses import dataclass

from edge_api import reasons
from edge_planning.errors import (
    BadModelError,
    BadObjectiveError,
    BadPlacesError,
    BadProfileError,
    PlanningError,
)


@dataclass(frozen=True, slots=True)
class Remedy:
    """The reason of a condition and its fix, with the placeholders {service} and {pool} for their names."""

    reason: str
    what: str


_REMEDIES: dict[type[PlanningError], Remedy] = {
    BadModelError: Remedy(
        reasons.BAD_EXITS,
        "list the exits in spec.model.exits from the earliest to the full model, each with its own name and "
        "output",
    ),
    BadProfileError: Remedy(
        reasons.BAD_PROFILE,
        "delete ModelProfile {service} to read the measurements again or repeat them",
    ),
    BadPlacesError: Remedy(
        reasons.NAME_TAKEN,
        "name each of spec.tritonServers in DevicePool {pool} unlike any node",
    ),
    BadObjectiveError: Remedy(
        reasons.NOTHING_TO_OPTIMIZE, "set it in DevicePool {pool}, or choose another spec.optimize"
    ),
}
_UNFORESEEN = Remedy(
    reasons.CANNOT_PLAN, "this is a defect of the operator: report it with the operator's log"
)


def remedy_for(error: PlanningError) -> Remedy:
    """Returns the remedy of the nearest class of the error that has one."""
    return next((_REMEDIES[kind] for kind in type(error).__mro__ if kind in _REMEDIES), _UNFORESEEN)


def explained(error: PlanningError, service: str, pool: str) -> tuple[str, str]:
    """Returns the reason of the condition, and its message with the fix."""
    remedy = remedy_for(error)
    return remedy.reason, f"{error}: {remedy.what.format(service=service, pool=pool)}"
