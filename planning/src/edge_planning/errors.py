"""What can go wrong in planning.

PlanningError
└── BadValueError      a value that cannot be planned with; the message says which and why
    ├── BadModelError      the exits and cuts of a model
    ├── BadProfileError    what a model was measured to cost
    └── BadPlacesError     the names of nodes and servers
"""


class PlanningError(Exception):
    """Anything that planning raises. That nothing fits is no error: it is the result Infeasible."""


class BadValueError(PlanningError, ValueError):
    """A value that makes no sense: negative, not a number, out of order, not measured."""


class BadModelError(BadValueError):
    """Exits or cuts that make no sense: out of order, without a name of their own, not above 0 bytes."""


class BadProfileError(BadValueError):
    """Measurements that lack a part of the model, or hold times that are none."""


class BadPlacesError(BadValueError):
    """Places that cannot be told apart, or that nobody has."""


def require(condition: bool, message: str, error: type[BadValueError] = BadValueError) -> None:
    """Raises `error` with `message` unless the condition holds."""
    if not condition:
        raise error(message)
