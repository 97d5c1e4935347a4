"""The factor by which a predicted time is multiplied to cover a percentile of the measured times.

Split conformal prediction (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005; Lei et al.:
Distribution-Free Predictive Inference for Regression, 2018) on the ratios of measured to predicted time: the
ceil((n + 1) * level)-th smallest of n ratios is exceeded by the next one with a probability of at most
1 - level, for any distribution, as long as they are exchangeable. Under drift they are not: callers pass the
latest ratios only.
"""

from collections.abc import Sequence
from math import ceil, inf

from edge_planning.errors import require

LIMIT = 10.0
"""Maximum margin, so that a plan stays possible with few measurements."""
CHANGE = 0.1
"""Relative change of a margin from which a plan takes the new one."""


def conformal_quantile(ratios: Sequence[float], percentile: float) -> float:
    """Returns the conformal quantile of ratios; infinite if there are too few for the percentile.

    Raises:
        BadValueError: There are no ratios, one is not a number above 0, or the percentile is not between 0
            and 100.
    """
    require(len(ratios) > 0, "margin: no residuals")
    require(0 < percentile < 100, f"margin: percentile {percentile} is not between 0 and 100")
    _check(ratios)
    rank = ceil((len(ratios) + 1) * percentile / 100 - 1e-9)
    return sorted(ratios)[rank - 1] if rank <= len(ratios) else inf


def ratios_needed(percentile: float) -> int:
    """Returns the smallest number of ratios with a finite conformal quantile: 19 for the 95th percentile."""
    require(0 < percentile < 100, f"margin: percentile {percentile} is not between 0 and 100")
    level = percentile / 100
    return ceil(level / (1 - level) - 1e-9)


def planned_margin(ratios: Sequence[float], percentile: float, before: float) -> float:
    """Returns the margin to plan with: `before`, unless the conformal quantile of the ratios clearly differs.

    Every new value makes a new plan, so noise must not change it. At least 1 and at most LIMIT.

    Raises:
        BadValueError: A ratio is not a number above 0, or the percentile is not between 0 and 100.
    """
    if len(ratios) < ratios_needed(percentile):
        return before
    found = min(max(conformal_quantile(ratios, percentile), 1.0), LIMIT)
    return before if abs(found - before) <= CHANGE * before else found


def _check(ratios: Sequence[float]) -> None:
    bad = next((ratio for ratio in ratios if not 0 < ratio < inf), None)
    require(bad is None, f"margin: residual {bad} must be finite and > 0")
