"""What many reservations have in common, computed and kept once for a plan."""

from collections.abc import Hashable
from itertools import accumulate
from typing import Any, TypeVar

from edge_planning.choosing.exit_costs import variance_of
from edge_planning.costs.profiles import ClassProfile
from edge_planning.graphs.models import Exit, Model

Value = TypeVar("Value", bound=Hashable)


class Figures:
    """Figures by identity: what they are of stays alive, so that an identity stays its own."""

    def __init__(self) -> None:
        self._variances: dict[tuple[int, int], tuple[object, object, float]] = {}
        self._sizes: dict[tuple[int, int], tuple[object, object, list[float]]] = {}
        self._tensors: dict[int, tuple[object, tuple[str, ...]]] = {}
        self._known: dict[Any, Any] = {}

    def known(self, value: Value) -> Value:
        """Returns the first equal value, so that equal ones take memory once."""
        first: Value = self._known.setdefault(value, value)
        return first

    def variance(self, profile: ClassProfile, exit_: Exit) -> float:
        """Returns the squared coefficient of variation of an exit's time on a class."""
        key = (id(profile), id(exit_))
        if key not in self._variances:
            self._variances[key] = profile, exit_, variance_of(profile, exit_)
        return self._variances[key][2]

    def memory(self, model: Model, exit_: Exit, start: int, stop: int) -> float:
        """Returns the bytes of the slice between two cuts of an exit."""
        key = (id(model), id(exit_))
        if key not in self._sizes:
            sizes = (model.memory.get(pair, 0.0) for pair in exit_.segments())
            self._sizes[key] = model, exit_, list(accumulate(sizes, initial=0.0))
        sums = self._sizes[key][2]
        return sums[stop] - sums[start]

    def tensors(self, exit_: Exit) -> tuple[str, ...]:
        """Returns the names of an exit's cuts and, last, of its outputs."""
        if id(exit_) not in self._tensors:
            self._tensors[id(exit_)] = exit_, (*(cut.name for cut in exit_.cuts), exit_.end)
        return self._tensors[id(exit_)][1]
