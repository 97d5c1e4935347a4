"""What can go wrong in planning.

PlanningError
└── BadValueError   a value that cannot be planned with; the message says which and why
"""


class PlanningError(Exception):
    """Anything that planning raises. That nothing fits is no error: it is the result Infeasible."""


class BadValueError(PlanningError, ValueError):
    """A value that makes no sense: negative, not a number, out of order, not measured."""


def require(condition: bool, message: str) -> None:
    """BadValueError with `message` unless the condition holds."""
    if not condition:
        raise BadValueError(message)
