"""The factor by which a predicted time is multiplied to cover a percentile of the measured times.

Split conformal prediction (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005; Lei et al.:
Distribution-Free Predictive Inference for Regression, 2018) on the ratios of measured to predicted time: the
ceil((n + 1) * level)-th smallest of n ratios is exceeded by the next one with a probability of at most
1 - level, for any distribution, as long as they are exchangeable. Under drift they are not. The level
therefore adapts to the observed misses (Gibbs and Candes: Adaptive Conformal Inference under Distribution
Shift, NeurIPS 2021), which bounds the long-run share of misses for any sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, isfinite

from edge_planning.errors import require

WINDOW = 500
"""Number of ratios kept: enough for the 99.5th percentile, few enough to adapt to a changed machine."""
LIMIT = 10.0
"""Maximum margin, so that a plan stays possible with few measurements."""
CHANGE = 0.1
"""Relative change of a margin from which a plan takes the new one."""
STEP = 0.02
"""Step size of the level per miss; Gibbs and Candes use 0.005 for series of some thousands."""


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


@dataclass(frozen=True, slots=True)
class Margin:
    """The margin for one percentile, learned from ratios of measured to predicted time, oldest first.

    Attributes:
        miss: The share of misses for which the quantile is currently taken. It starts at 1 - percentile / 100
            and moves by `step` times the difference of the target and the outcome.
        step: Step size of `miss`; 0 is plain split conformal prediction.
        prior: The margin while there are too few ratios for the percentile (None: the limit).
    """

    percentile: float = 95.0
    ratios: tuple[float, ...] = ()
    miss: float | None = None
    window: int = WINDOW
    step: float = STEP
    limit: float = LIMIT
    prior: float | None = None

    def __post_init__(self) -> None:
        require(0 < self.percentile < 100, f"margin: percentile {self.percentile} is not between 0 and 100")
        needed = ratios_needed(self.percentile)
        require(
            self.window >= needed,
            f"margin: window {self.window} is too small for percentile {self.percentile}: use {needed} or "
            f"more",
        )
        require(isfinite(self.step) and self.step >= 0, f"margin: step {self.step} must be finite and >= 0")
        require(isfinite(self.limit) and self.limit >= 1, f"margin: limit {self.limit} must be >= 1")
        require(
            self.prior is None or 0 < self.prior <= self.limit,
            f"margin: prior {self.prior} must be between 0 and the limit {self.limit}",
        )
        require(self.miss is None or isfinite(self.miss), f"margin: miss {self.miss} is not a number")
        _check(self.ratios)

    @property
    def wanted(self) -> float:
        """The target share of misses."""
        return 1 - self.percentile / 100

    @property
    def value(self) -> float:
        """The current margin: 0 if far too few requests missed, the limit if far too many did."""
        miss = self.wanted if self.miss is None else self.miss
        if len(self.ratios) < ratios_needed(self.percentile):
            return self.limit if self.prior is None else self.prior
        if miss >= 1:
            return 0.0
        return self.limit if miss <= 0 else min(conformal_quantile(self.ratios, 100 * (1 - miss)), self.limit)


def observe(state: Margin, predicted: float, measured: float) -> Margin:
    """Returns the state after one more request: times in seconds, the predicted one without a margin."""
    require(
        isfinite(predicted) and predicted > 0, f"margin: predicted time {predicted} s must be finite and > 0"
    )
    require(isfinite(measured) and measured > 0, f"margin: measured time {measured} s must be finite and > 0")
    ratio = measured / predicted
    missed = ratio > state.value
    miss = state.wanted if state.miss is None else state.miss
    return replace(
        state,
        ratios=(*state.ratios, ratio)[-state.window :],
        miss=miss + state.step * (state.wanted - missed),
    )


def _check(ratios: Sequence[float]) -> None:
    bad = next((ratio for ratio in ratios if not 0 < ratio < inf), None)
    require(bad is None, f"margin: residual {bad} must be finite and > 0")
