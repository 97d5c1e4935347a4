"""Linear models of a layer's latency, one per kind of layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from edge_planning.errors import require

FLOOR = 1e-5
"""Minimum prediction in seconds (a choice): the published lines cross zero for small layers, e.g. a
convolution on the Raspberry Pi below (filter size / stride)^2 * filters = 371."""

REACH = 2.0
"""Maximum ratio of a variable to its largest fitted value (a choice): beyond it, variables that were
correlated in the fit need not be correlated."""


@dataclass(frozen=True, slots=True)
class Regression:
    """seconds = intercept + the sum of coefficient * variable, but at least `floor`.

    Attributes:
        coefficients: Seconds per unit of each variable.
        intercept, floor: Seconds.
        error: Relative standard error of a prediction.
        largest: Largest values of the variables in the fit, if known.
    """

    coefficients: Mapping[str, float]
    intercept: float
    error: float
    floor: float = FLOOR
    largest: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (*self.coefficients.items(), ("intercept", self.intercept)):
            require(isfinite(value), f"regression: {name} {value} is not a number")
        for name, value in (("error", self.error), ("floor", self.floor)):
            require(isfinite(value) and value >= 0, f"regression: {name} {value} must be finite and >= 0")

    def covers(self, variables: Mapping[str, float]) -> bool:
        """Returns whether it applies to a layer: all variables are given, none far above the fitted range."""
        return all(name in variables for name in self.coefficients) and all(
            variables[name] <= REACH * self.largest.get(name, variables[name]) for name in self.coefficients
        )

    def seconds(self, variables: Mapping[str, float]) -> float:
        """Returns the predicted seconds; raises BadValueError for a missing or invalid variable."""
        for name in self.coefficients:
            value = variables.get(name, float("nan"))
            require(
                isfinite(value) and value >= 0, f"regression: variable {name} {value} must be finite and >= 0"
            )
        total = self.intercept + sum(c * variables[name] for name, c in self.coefficients.items())
        return max(total, self.floor)
