"""A quantity that rises with the size of a request: measured at a few sizes, linear between them.

No numpy, because runtimes evaluate curves for each request.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from edge_planning.errors import BadProfileError, require


@dataclass(frozen=True, slots=True)
class Curve:
    """Values (seconds or bytes) at rising sizes; a size is a number of elements of a request's inputs.

    Between two sizes it is linear, which is exact for what grows with the elements, such as convolutions and
    their activations. Above the largest size it continues with its last slope, but at least with that from
    the first size to the last; below the smallest with its first slope, but at least in proportion to the
    size: a slope between two close sizes is mostly the error of their measurements. With one size, the value
    is proportional to the size above it and constant below.

    Attributes:
        error: Largest relative difference between a measured value and the line through its neighbors,
            over all sizes but the outer two; None with fewer than three sizes.
    """

    sizes: tuple[float, ...]
    values: tuple[float, ...]
    error: float | None = None

    def __post_init__(self) -> None:
        require(
            0 < len(self.sizes) == len(self.values),
            f"curve: {len(self.sizes)} sizes and {len(self.values)} values: give one value for each size",
            BadProfileError,
        )
        require(
            all(isfinite(n) and n > 0 for n in self.sizes) and all(a < b for a, b in pairwise(self.sizes)),
            f"curve: sizes {list(self.sizes)} must rise from above 0",
            BadProfileError,
        )
        require(
            all(isfinite(v) and v >= 0 for v in self.values)
            and all(a <= b for a, b in pairwise(self.values)),
            f"curve: values {list(self.values)} must be finite, >= 0 and must not fall",
            BadProfileError,
        )

    @classmethod
    def through(cls, points: Iterable[tuple[float, float]]) -> "Curve":
        """Returns the curve of measured (size, value) points, in any order.

        Values of equal sizes are averaged, and so are neighbors that fall: nothing computes less because its
        input is larger, so a fall is noise (pool adjacent violators).

        Raises:
            BadProfileError: There are no points, or a size or value is not a finite number >= 0.
        """
        measured: dict[float, list[float]] = {}
        for size, value in points:
            measured.setdefault(float(size), []).append(float(value))
        sizes = sorted(measured)
        means = [sum(measured[size]) / len(measured[size]) for size in sizes]
        return cls(tuple(sizes), tuple(_rising(means)), _error(sizes, means))

    def at(self, size: float) -> float:
        """Returns the value at a size."""
        sizes, values = self.sizes, self.values
        if len(sizes) == 1:
            return values[0] * max(size / sizes[0], 1.0)
        if size < sizes[0]:
            return max(_line(sizes, values, 1, size), values[0] * max(size, 0.0) / sizes[0])
        if size > sizes[-1]:
            last = _line(sizes, values, len(sizes) - 1, size)
            return max(last, _line((sizes[0], sizes[-1]), (values[0], values[-1]), 1, size))
        return _line(sizes, values, max(bisect_left(sizes, size), 1), size)


def _line(sizes: Sequence[float], values: Sequence[float], after: int, size: float) -> float:
    """Returns the value at a size on the line through the points before and at `after`."""
    low, high = sizes[after - 1], sizes[after]
    share = (size - low) / (high - low)
    return values[after - 1] * (1 - share) + values[after] * share


def _rising(values: Sequence[float]) -> list[float]:
    """Returns the rising values that are closest in the sense of least squares."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, count = value, 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
    return [mean for mean, count in blocks for _ in range(count)]


def _error(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    found = [
        abs(_line((sizes[i - 1], sizes[i + 1]), (values[i - 1], values[i + 1]), 1, sizes[i]) - values[i])
        / values[i]
        for i in range(1, len(sizes) - 1)
        if values[i] > 0
    ]
    return max(found, default=None)
