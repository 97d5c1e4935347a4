"""What planning refuses: to each kind of error its own reason in a condition, and what mends it."""

from dataclasses import dataclass

from edge_planning.errors import BadModelError, BadPlacesError, BadProfileError, PlanningError

BAD_EXITS = "BadExits"
BAD_PROFILE = "BadProfile"
NAME_TAKEN = "NameTaken"
CANNOT_PLAN = "CannotPlan"


@dataclass(frozen=True, slots=True)
class Remedy:
    """The reason of a condition, and what to do; {service} and {pool} stand for their names."""

    reason: str
    what: str


_REMEDIES: dict[type[PlanningError], Remedy] = {
    BadModelError: Remedy(
        BAD_EXITS,
        "list the exits in spec.model.exits from the earliest to the full model, each with a name and an "
        "output of its own",
    ),
    BadProfileError: Remedy(
        BAD_PROFILE, "delete ModelProfile {service}: what the model store has is checked, or measured again"
    ),
    BadPlacesError: Remedy(
        NAME_TAKEN, "in DevicePool {pool}, give each of spec.tritonServers a name that no node has"
    ),
}
_UNFORESEEN = Remedy(
    CANNOT_PLAN, "nothing in the manifest is known to cause this: report it with the operator's log"
)


def remedy_for(error: PlanningError) -> Remedy:
    """The remedy of the nearest kind of error that has one."""
    return next((_REMEDIES[kind] for kind in type(error).__mro__ if kind in _REMEDIES), _UNFORESEEN)


def explained(error: PlanningError, service: str, pool: str) -> tuple[str, str]:
    """The reason of the condition, and its message with what to do."""
    remedy = remedy_for(error)
    return remedy.reason, f"{error}; {remedy.what.format(service=service, pool=pool)}"
