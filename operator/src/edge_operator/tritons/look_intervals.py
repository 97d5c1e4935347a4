"""When a Triton server is looked at next. Pure."""

from typing import Final

SHORTEST: Final = 10.0
"""Seconds between two looks at a server that responds at once."""
LONGEST: Final = 60.0
"""The longest interval between two looks at a server that responds."""
FIRST_RETRY: Final = 2.0
"""Seconds after which a server that did not respond is checked again, at least."""
_PART: Final = 20.0
"""A look takes at most one part of so many of the time: a server with many models is looked at less often."""
_SPREAD: Final = 0.2


def first_look(jitter: float) -> float:
    """Returns the seconds until the first look. jitter: from 0 to 1, so that servers take turns."""
    return SHORTEST * jitter


def next_look(took: float, jitter: float) -> float:
    """Returns the seconds until the next look at a server that responded. took: seconds of the last look."""
    return min(LONGEST, max(SHORTEST, _PART * took)) * (1.0 + _SPREAD * (jitter - 0.5))


def retry(rest: float) -> float:
    """Returns the seconds until the next look at a server that did not respond.

    rest: seconds for which its circuit breaker, which backs off with jitter, lets no request through.
    """
    return max(FIRST_RETRY, rest)
