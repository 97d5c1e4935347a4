"""Times of operators on a device class, fitted to those of all models that were profiled there.

As in nn-Meter (Zhang et al., MobiSys 2021), what is predicted is what the engine runs: operators after graph
optimization. The time of a kind of operator is a non-negative linear function of its work (a roofline with a
constant), times a correction that a Gaussian process interpolates between operators with similar shapes
(Rasmussen and Williams: Gaussian Processes for Machine Learning, 2006, chapter 2). Kinds with few
observations share a function.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import exp, isfinite, log
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_planning.costs.operators import Operator
from edge_planning.errors import require

Floats = npt.NDArray[np.float64]

LEAST_SAMPLES = 4
"""Distinct operators from which on a kind has its own function (a choice)."""
MOST_SAMPLES = 500
"""Distinct operators of a kind that are fitted, those of the most time first: the fit takes their cube."""
LENGTH = 0.8
"""Distance at which corrections are still alike: a factor of e in one of an operator's amounts (a choice)."""
SPREAD = 0.5
"""Standard deviation of the logarithm of corrections (a choice)."""
NOISE = 0.1
"""Relative standard deviation of a measured time (a choice)."""
TICK = 3e-7
"""Seconds that a measured time is off by in any case: profilers count microseconds (a choice)."""
LEAST = 1e-7
"""Seconds that any operator takes (a choice)."""
ACROSS = 0.3
"""Correlation of corrections of two kinds, where they share a function (a choice)."""
FAR = 1.0
_ROUNDS = 12
_SWEEPS = 40


@dataclass(frozen=True, slots=True)
class Observation:
    """An operator of a profiled model, and its mean seconds."""

    operator: Operator
    seconds: float

    def __post_init__(self) -> None:
        require(
            isfinite(self.seconds) and self.seconds > 0,
            f"observation of {self.operator.kind}: time {self.seconds} s must be finite and > 0",
        )


@dataclass(frozen=True, slots=True)
class _Kind:
    """The fitted function of one kind.

    points, kinds: Where the fitted operators are. weights, inverse: Of the correction.
    """

    coefficients: Floats
    points: Floats
    kinds: tuple[str, ...]
    weights: Floats
    inverse: Floats

    def predict(self, operators: Sequence[Operator]) -> tuple[Floats, Floats]:
        """Returns the seconds and the standard deviation of their logarithm, each [operators]."""
        base = _base(operators) @ self.coefficients + TICK
        kinds = tuple(map(family, operators))
        near = _kernel(_place(operators), kinds, self.points, self.kinds)
        left = SPREAD**2 - ((near @ self.inverse) * near).sum(axis=1)
        seconds = np.maximum(base * np.exp(near @ self.weights) - TICK, LEAST)
        return seconds, np.sqrt(np.maximum(left, 0.0) + NOISE**2)


@dataclass(frozen=True, slots=True)
class OperatorTimes:
    """The fitted times of a device class. samples: distinct operators that were fitted."""

    kinds: Mapping[str, _Kind]
    others: _Kind
    samples: int = 0

    def seconds(self, operators: Sequence[Operator]) -> tuple[Floats, Floats]:
        """Returns the seconds of operators, and the standard deviation of their logarithms: [operators]."""
        found, error = np.zeros(len(operators)), np.zeros(len(operators))
        by_kind: dict[str, list[int]] = {}
        for number, operator in enumerate(operators):
            by_kind.setdefault(family(operator), []).append(number)
        for kind, numbers in by_kind.items():
            fitted = self.kinds.get(kind, self.others)
            found[numbers], error[numbers] = fitted.predict([operators[n] for n in numbers])
        return found, error


def fit_operator_times(observations: Sequence[Observation]) -> OperatorTimes:
    """Fits the times of operators; raises BadValueError without observations."""
    require(bool(observations), "observations: none: profile a model on the device class first")
    logs: dict[Operator, list[float]] = {}
    for each in observations:
        logs.setdefault(each.operator, []).append(log(each.seconds))
    times = {operator: exp(median(found)) for operator, found in logs.items()}
    by_kind: dict[str, list[Operator]] = {}
    for operator in times:
        by_kind.setdefault(family(operator), []).append(operator)
    kinds = {kind: _fit(found, times) for kind, found in by_kind.items() if len(found) >= LEAST_SAMPLES}
    return OperatorTimes(kinds, _fit(_spread(by_kind), times), len(times))


@dataclass(frozen=True, slots=True)
class ProfiledModel:
    """A model with the operators of a run, and the seconds of it: of operators, and of the whole run."""

    ran: tuple[Observation, ...]
    seconds: float


def left_out(models: Mapping[str, ProfiledModel], call: float) -> dict[str, float]:
    """Returns predicted by measured seconds of each model, fitted to the operators of all other models.

    call: seconds of a run without operators. Raises BadValueError for a single model.
    """
    found = {}
    for name, model in models.items():
        others = [each for other, one in models.items() if other != name for each in one.ran]
        seconds, _ = run_estimate(fit_operator_times(others), [each.operator for each in model.ran], call)
        found[name] = seconds / model.seconds
    return found


def observations(measured: Mapping[str, Any]) -> list[Observation]:
    """Returns the observations of a profile's `operators`, equal ones once for each model."""
    return [Observation(Operator.of(each), float(each["seconds"])) for each in measured.get("observed") or ()]


def run_estimate(times: OperatorTimes, operators: Sequence[Operator], call: float) -> tuple[float, float]:
    """Returns the seconds of a run of a model, and their relative standard error.

    call: seconds of a run without operators. The errors of the operators count as fully correlated, as in
    costs.estimates.total.
    """
    if not operators:
        return call, 0.0
    seconds, error = times.seconds(operators)
    total = float(seconds.sum())
    return total + call, float((seconds * error).sum() / total)


def family(operator: Operator) -> str:
    """Returns the kind under which an operator is fitted: a fused activation takes next to no time."""
    return operator.kind.removeprefix("Fused")


def _spread(by_kind: Mapping[str, Sequence[Operator]]) -> list[Operator]:
    """Returns operators of all kinds in turn, at most MOST_SAMPLES."""
    found = [one for row in zip_longest(*by_kind.values()) for one in row if one is not None]
    return found[:MOST_SAMPLES]


def _fit(operators: Sequence[Operator], times: Mapping[Operator, float]) -> _Kind:
    chosen = sorted(operators, key=lambda one: -times[one])[:MOST_SAMPLES]
    kinds = tuple(map(family, chosen))
    seconds = np.array([times[one] for one in chosen])
    inputs, places = _base(chosen), _place(chosen)
    coefficients = _coefficients(inputs, seconds)
    left = np.log((seconds + TICK) / (inputs @ coefficients + TICK))
    covariance = _kernel(places, kinds, places, kinds) + NOISE**2 * np.eye(len(chosen))
    inverse = np.asarray(np.linalg.inv(covariance), np.float64)
    return _Kind(coefficients, places, kinds, np.asarray(inverse @ left, np.float64), inverse)


def _coefficients(inputs: Floats, seconds: Floats) -> Floats:
    """Returns non-negative coefficients that minimize squared logarithms of measured by predicted times.

    Gauss-Newton steps; a logarithm counts as at most FAR, so that disturbed measurements do not matter.
    """
    predicted = seconds
    weights = np.zeros(inputs.shape[1])
    for _ in range(_ROUNDS):
        off = np.clip(np.log((seconds + TICK) / (predicted + TICK)), -FAR, FAR)
        rows = inputs / (predicted + TICK)[:, None]
        weights = _non_negative(rows, predicted / (predicted + TICK) + off)
        predicted = inputs @ weights
    return weights


def _non_negative(inputs: Floats, wanted: Floats) -> Floats:
    """Solves non-negative least squares by coordinate descent on the normal equations."""
    scale = np.maximum(np.sqrt((inputs**2).sum(axis=0)), np.finfo(float).tiny)
    columns = inputs / scale
    gram, target = columns.T @ columns, columns.T @ wanted
    found = np.zeros(len(target))
    for _ in range(_SWEEPS):
        for number in range(len(target)):
            if gram[number, number] > 0:
                slope = target[number] - gram[number] @ found
                found[number] = max(found[number] + slope / gram[number, number], 0.0)
    result: Floats = found / scale
    return result


def _base(operators: Sequence[Operator]) -> Floats:
    """Returns the terms of the linear function: FLOP, bytes of weights, read, written, steps, and 1."""
    works = [one.work for one in operators]
    rows = [[w.flops, w.weights, w.read, w.written, w.steps, 1.0] for w in works]
    return np.array(rows, np.float64)


def _place(operators: Sequence[Operator]) -> Floats:
    """Returns where operators are in the space of corrections: logarithms of their amounts."""
    works = [one.work for one in operators]
    rows = [
        [w.flops, w.weights, w.read, w.written, w.depth, w.groups, w.rows, w.steps, w.window] for w in works
    ]
    return np.log1p(np.array(rows, np.float64))


def _kernel(a: Floats, of_a: Sequence[str], b: Floats, of_b: Sequence[str]) -> Floats:
    """Returns the covariances of corrections, [a, b]: those of other kinds are only partly alike."""
    apart = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    alike = np.where(np.array(of_a)[:, None] == np.array(of_b)[None, :], 1.0, ACROSS)
    found: Floats = alike * SPREAD**2 * np.exp(-np.maximum(apart, 0.0) / (2 * LENGTH**2))
    return found
