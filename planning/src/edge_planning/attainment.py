"""From counts of requests to SLO attainment, the verdict on the SLO, and the use of its error budget. Pure.

`share` is the SLO objective: the least share of requests that must meet the SLO.
"""

import math


def attained(requests: int, met: int) -> float | None:
    """The share of requests that met the SLO; None without requests."""
    return met / requests if requests else None


def burn_rate(requests: int, met: int, share: float) -> float | None:
    """How fast the error budget is used: 1 uses exactly the budget; None without requests."""
    return (requests - met) / (requests * (1 - share)) if requests else None


def judged(requests: int, met: int, share: float, *, before: bool | None) -> bool | None:
    """Whether the SLO is met, with hysteresis; None without requests. before: the verdict until now.

    It is missed as soon as more requests missed than the budget allows. A missed SLO is met again only once
    the misses are one standard deviation of their number below the budget, so that chance at the edge of the
    objective does not turn the verdict to and fro.
    """
    if not requests:
        return None
    # Counts come in whole requests: 5 misses of 100 are within a share of 0.95 despite rounding.
    allowed, missed = requests * (1 - share) + 1e-9, requests - met
    if before is False:
        return missed <= max(allowed - math.sqrt(allowed), 0.0)
    return missed <= allowed
