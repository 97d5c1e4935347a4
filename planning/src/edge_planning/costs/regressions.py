"""Linear models of a layer's latency, one for each kind of layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from edge_planning.errors import require

FLOOR = 1e-5
"""Seconds below which no layer is predicted (a choice): the published lines cross zero for small layers, e.g.
a convolution on the Raspberry Pi below (filter size / stride)^2 * filters = 371."""

REACH = 2.0
"""How many times the largest fitted value a variable may be (a choice): farther out, variables that went
together in the fit may not do so any more."""


@dataclass(frozen=True, slots=True)
class Regression:
    """seconds = intercept + the sum of coefficient * variable, but at least `floor`.

    coefficients in seconds per unit of each variable, intercept and floor in seconds. error: the relative
    standard error of a prediction. largest: the largest values that it was fitted on, where they are known.
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
            require(isfinite(value) and value >= 0, f"regression: {name} {value} is negative or not a number")

    def covers(self, variables: Mapping[str, float]) -> bool:
        """Whether it may speak of a layer: all variables are there, none far beyond what it was fitted on."""
        return all(name in variables for name in self.coefficients) and all(
            variables[name] <= REACH * self.largest.get(name, variables[name]) for name in self.coefficients
        )

    def seconds(self, variables: Mapping[str, float]) -> float:
        """The prediction; BadValueError names a variable that is missing or no size."""
        for name in self.coefficients:
            value = variables.get(name, float("nan"))
            require(isfinite(value) and value >= 0, f"regression: variable {name} {value} is not a size")
        total = self.intercept + sum(c * variables[name] for name, c in self.coefficients.items())
        return max(total, self.floor)
