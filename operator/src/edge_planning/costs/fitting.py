"""Regressions fitted to measured layers, one for each family, as Edgent does offline for each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite

import numpy as np
import numpy.typing as npt

from edge_planning.costs.classes import FLOPS_ERROR, DeviceClass
from edge_planning.costs.regressions import Regression
from edge_planning.costs.variables import OTHERS, VARIABLES, family
from edge_planning.errors import require

Floats = npt.NDArray[np.float64]
SAMPLES_PER_PARAMETER = 2
"""Measured layers that a fit needs for each coefficient and for the intercept (a choice)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured layer: its kind, its variables (costs.variables), its operations and its mean seconds."""

    kind: str
    variables: Mapping[str, float]
    flops: float
    seconds: float

    def __post_init__(self) -> None:
        require(
            isfinite(self.seconds) and self.seconds > 0,
            f"sample of {self.kind}: {self.seconds} s is no measured time",
        )
        for name, value in (*self.variables.items(), ("flops", self.flops)):
            require(
                isfinite(value) and value >= 0,
                f"sample of {self.kind}: {name} {value} is negative or no number",
            )


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted regression, or the reason why there is none.

    r2: the share of the variance of the seconds that it explains. error: relative standard error, the square
    root of the sum of squared relative residuals by degrees of freedom.
    """

    samples: int
    regression: Regression | None = None
    r2: float = float("nan")
    error: float = float("nan")
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ClassFit:
    """A device class made from measurements, with the fit of each family of layers."""

    device_class: DeviceClass
    fits: Mapping[str, Fit]


def fit(samples: Sequence[Sample], names: Sequence[str]) -> Fit:
    """The non-negative least squares of relative errors on the variables `names` and an intercept.

    Residuals are divided by the measured seconds, so that a small layer counts as much as a large one; no
    coefficient is negative, so that no prediction is, and more work never takes less time.
    """
    needed = SAMPLES_PER_PARAMETER * (len(names) + 1)
    if len(samples) < needed:
        return Fit(len(samples), reason=f"{len(samples)} measured layers are too few, {needed} are needed")
    for sample in samples:
        missing = [name for name in names if name not in sample.variables]
        require(not missing, f"sample of {sample.kind}: no variable {', '.join(missing)}")
    seconds = np.array([sample.seconds for sample in samples])
    inputs = np.array([[*(sample.variables[name] for name in names), 1.0] for sample in samples])
    weights = _non_negative(inputs / seconds[:, None], np.ones(len(samples)))
    predicted = inputs @ weights
    free = len(samples) - np.count_nonzero(weights)
    error = float(np.sqrt(np.sum((predicted / seconds - 1) ** 2) / free))
    spread = float(np.sum((seconds - seconds.mean()) ** 2))
    left = float(np.sum((seconds - predicted) ** 2))
    coefficients = {name: float(weight) for name, weight in zip(names, weights[:-1], strict=True)}
    return Fit(
        samples=len(samples),
        regression=Regression(coefficients, float(weights[-1]), error),
        r2=1 - left / spread if spread > 0 else float("nan"),
        error=error,
    )


def fit_class(
    name: str, samples: Sequence[Sample], *, source: str, fallback: DeviceClass | None = None
) -> ClassFit:
    """A device class from measured layers; families with too few get the fallback's regression, if any.

    The rate of FLOPs for all other layers minimises the relative errors of the samples that have any.
    BadValueError when there are none of those and no fallback either.
    """
    families = sorted({family(sample.kind) for sample in samples})
    fits = {
        kind: fit([s for s in samples if family(s.kind) == kind], VARIABLES.get(kind, OTHERS))
        for kind in families
    }
    regressions = dict(fallback.regressions) if fallback else {}
    regressions |= {kind: result.regression for kind, result in fits.items() if result.regression}
    rate, error = _flops_rate(samples, fallback)
    return ClassFit(
        DeviceClass(
            name=name,
            regressions=regressions,
            flops_per_second=rate,
            source=source,
            loading=fallback.loading if fallback else None,
            active_power=fallback.active_power if fallback else None,
            flops_error=error,
            memory=fallback.memory if fallback else None,
        ),
        fits,
    )


def _non_negative(inputs: Floats, wanted: Floats) -> Floats:
    """Exact non-negative least squares: the best of the unconstrained solutions on every set of columns.

    The optimum is the unconstrained one on the columns where it is positive (Lawson and Hanson, 1974); with
    at most three columns all sets can be tried.
    """
    columns = range(inputs.shape[1])
    best, best_loss = np.zeros(inputs.shape[1]), float(wanted @ wanted)
    for size in range(1, inputs.shape[1] + 1):
        for chosen in combinations(columns, size):
            scale = np.maximum(np.abs(inputs[:, chosen]).max(axis=0), np.finfo(float).tiny)
            found = np.linalg.lstsq(inputs[:, chosen] / scale, wanted, rcond=None)[0] / scale
            loss = float(np.sum((inputs[:, chosen] @ found - wanted) ** 2))
            if (found >= 0).all() and loss < best_loss * (1 - 1e-12):
                best, best_loss = np.zeros(inputs.shape[1]), loss
                best[list(chosen)] = found
    return best


def _flops_rate(samples: Sequence[Sample], fallback: DeviceClass | None) -> tuple[float, float]:
    work = np.array([sample.flops / sample.seconds for sample in samples if sample.flops > 0])
    if not len(work):
        require(fallback is not None, "no measured layer has FLOPs, and there is no class to fall back to")
        assert fallback is not None
        return fallback.flops_per_second, fallback.flops_error
    rate = float((work @ work) / work.sum())
    residuals = work / rate - 1
    error = float(np.sqrt(np.sum(residuals**2) / (len(work) - 1))) if len(work) > 1 else FLOPS_ERROR
    return rate, error
