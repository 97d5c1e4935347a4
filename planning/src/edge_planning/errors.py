"""The errors of planning.

PlanningError
└── BadValueError      an invalid value; the message names it and the reason
    ├── BadModelError      invalid exits or cuts of a model
    ├── BadProfileError    invalid or missing measurements of a model
    ├── BadPlacesError     invalid names of nodes or servers
    └── BadObjectiveError  an objective without the values that it needs
"""


class PlanningError(Exception):
    """Base class of all planning errors. If no candidate fits, the result is Infeasible, not an error."""


class BadValueError(PlanningError, ValueError):
    """A value is invalid: negative, not a number, out of order, or not measured."""


class BadModelError(BadValueError):
    """Exits or cuts are invalid: out of order, without a unique name, or without bytes."""


class BadProfileError(BadValueError):
    """Measurements lack a part of the model or contain invalid times."""


class BadPlacesError(BadValueError):
    """Names of places are ambiguous or unknown."""


class BadObjectiveError(BadValueError):
    """The objective needs prices or power that are not declared, or has no route tables."""


def require(
    condition: bool,  # noqa: FBT001
    message: str,
    error: type[BadValueError] = BadValueError,
) -> None:
    """Raises `error` with `message` if the condition is false."""
    if not condition:
        raise error(message)
