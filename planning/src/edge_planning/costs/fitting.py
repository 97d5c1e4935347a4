"""Fits regressions to measured layers, one per family, as Edgent does offline for each device class.

For estimates of models without a profile; only benchmarks call it so far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite, nan

import numpy as np
import numpy.typing as npt

from edge_planning.costs.classes import FLOPS_ERROR, DeviceClass
from edge_planning.costs.regressions import Regression
from edge_planning.costs.variables import OTHERS, VARIABLES, WORK, family
from edge_planning.errors import require

Floats = npt.NDArray[np.float64]
SAMPLES_PER_PARAMETER = 2
"""Measured layers required per coefficient, the intercept included (a choice)."""
FOLDS = 5
"""Folds of the cross-validation that selects the variables."""
ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured layer: its kind, its variables (costs.variables.variables_of) and its mean seconds."""

    kind: str
    variables: Mapping[str, float]
    seconds: float

    def __post_init__(self) -> None:
        require(
            isfinite(self.seconds) and self.seconds > 0,
            f"sample of {self.kind}: time {self.seconds} s must be finite and > 0",
        )
        for name, value in self.variables.items():
            require(
                isfinite(value) and value >= 0,
                f"sample of {self.kind}: {name} {value} must be finite and >= 0",
            )


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted regression, or the reason why there is none.

    Attributes:
        r2: Share of the variance of the seconds that it explains.
        error: Relative standard error: the square root of the sum of squared (measured / predicted - 1)
            divided by the degrees of freedom.
    """

    samples: int
    regression: Regression | None = None
    r2: float = nan
    error: float = nan
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ClassFit:
    """A device class fitted to measurements, with the fit of each family of layers."""

    device_class: DeviceClass
    fits: Mapping[str, Fit]


def fit(samples: Sequence[Sample], names: Sequence[str]) -> Fit:
    """Fits a linear function of the variables `names` and an intercept, all non-negative.

    The variance of a time grows with the time, so residuals are relative to the prediction: least squares
    with weights 1 / prediction^2, iterated until the predictions converge (the quasi-likelihood for a
    variance proportional to the squared mean; McCullagh and Nelder: Generalized Linear Models, 1989, chapter
    9). Small and large layers count equally. No prediction is below the shortest measured time, and more work
    never takes less time.
    """
    needed = SAMPLES_PER_PARAMETER * (len(names) + 1)
    if len(samples) < needed:
        return Fit(len(samples), reason=f"{len(samples)} measured layers: at least {needed} are required")
    for sample in samples:
        missing = [name for name in names if name not in sample.variables]
        require(not missing, f"sample of {sample.kind}: missing variables {', '.join(missing)}")
    seconds = np.array([sample.seconds for sample in samples])
    inputs = np.array([[*(sample.variables[name] for name in names), 1.0] for sample in samples])
    floor = float(seconds.min())
    weights = _settled(inputs, seconds, floor)
    predicted = np.maximum(inputs @ weights, floor)
    free = len(samples) - np.count_nonzero(weights)
    error = float(np.sqrt(np.sum((seconds / predicted - 1) ** 2) / free))
    spread = float(np.sum((seconds - seconds.mean()) ** 2))
    left = float(np.sum((seconds - predicted) ** 2))
    coefficients = {name: float(weight) for name, weight in zip(names, weights[:-1], strict=True)}
    largest = {name: float(value) for name, value in zip(names, inputs.max(axis=0), strict=False)}
    return Fit(
        samples=len(samples),
        regression=Regression(coefficients, float(weights[-1]), error, floor, largest),
        r2=1 - left / spread if spread > 0 else nan,
        error=error,
    )


def fit_family(samples: Sequence[Sample]) -> Fit:
    """Returns the better of two fits for a family of layers: on Edgent's variables, or on the amount of work.

    The work is operations, weights and output (costs.variables.WORK). The better fit has the smaller squared
    relative error in cross-validation with a fifth of the layers left out; ties go to Edgent's variables.
    """
    kind = family(samples[0].kind) if samples else ""
    published = VARIABLES.get(kind, OTHERS)
    known = set.intersection(*(set(sample.variables) for sample in samples)) if samples else set()
    choices = [names for names in (published, WORK) if set(names) <= known]
    return fit(samples, min(choices, key=lambda names: _left_out_error(samples, names), default=published))


def fit_class(
    name: str, samples: Sequence[Sample], *, source: str, fallback: DeviceClass | None = None
) -> ClassFit:
    """Fits a device class to measured layers; families with too few use the fallback's regression, if any.

    The FLOP rate for all other layers minimizes the relative errors of the samples with FLOPs.

    Raises:
        BadValueError: No sample has FLOPs and there is no fallback.
    """
    families = sorted({family(sample.kind) for sample in samples})
    fits = {kind: fit_family([s for s in samples if family(s.kind) == kind]) for kind in families}
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


def _settled(inputs: Floats, seconds: Floats, floor: float) -> Floats:
    predicted, weights = seconds, np.zeros(inputs.shape[1])
    for _ in range(ROUNDS):
        before, weights = weights, _non_negative(inputs / predicted[:, None], seconds / predicted)
        predicted = np.maximum(inputs @ weights, floor)
        if np.allclose(before, weights, rtol=1e-10, atol=0.0):
            break
    return weights


def _non_negative(inputs: Floats, wanted: Floats) -> Floats:
    """Solves non-negative least squares exactly: the best unconstrained solution over all subsets of columns.

    The optimum is the unconstrained one on the columns where it is positive (Lawson and Hanson, 1974); with
    a handful of columns all subsets can be tried.
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


def _left_out_error(samples: Sequence[Sample], names: Sequence[str]) -> float:
    """Returns the squared relative error in cross-validation; infinite if a fold has too few samples."""
    loss = 0.0
    for fold in range(FOLDS):
        found = fit([s for n, s in enumerate(samples) if n % FOLDS != fold], names).regression
        if found is None:
            return float("inf")
        loss += sum((s.seconds / found.seconds(s.variables) - 1) ** 2 for s in samples[fold::FOLDS])
    return loss


def _flops_rate(samples: Sequence[Sample], fallback: DeviceClass | None) -> tuple[float, float]:
    flops = [(sample.variables.get("flops", 0.0), sample.seconds) for sample in samples]
    work = np.array([count / seconds for count, seconds in flops if count > 0])
    if not len(work):
        require(fallback is not None, "samples: none has FLOPs: pass a fallback class")
        assert fallback is not None
        return fallback.flops_per_second, fallback.flops_error
    rate = float((work @ work) / work.sum())
    residuals = work / rate - 1
    error = float(np.sqrt(np.sum(residuals**2) / (len(work) - 1))) if len(work) > 1 else FLOPS_ERROR
    return rate, error
