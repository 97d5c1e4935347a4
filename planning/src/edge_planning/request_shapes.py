"""Shapes of requests: a bounded histogram of those that arrive, and the shapes to measure and to plan for.

Pure. Runtimes count, the operator reads; neither numpy nor onnx is loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd, prod

from edge_planning.errors import require

MOST_SHAPES = 32
"""Maximum number of shapes in a histogram."""
MEASURED_SHAPES = 3
"""Number of shapes at which a model is measured: the typical one, the largest, and one between."""

_HALVED = 32

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RequestShape:
    """The shapes of a request's inputs for a batch of one: (name, shape) each, in order of the names."""

    inputs: tuple[tuple[str, Shape], ...]

    @classmethod
    def of(cls, shapes: Mapping[str, Sequence[int]]) -> "RequestShape":
        """Returns the shape of a request from the shape of each input."""
        return cls(tuple(sorted((name, tuple(shape)) for name, shape in shapes.items())))

    @property
    def size(self) -> int:
        """Number of elements of all inputs."""
        return sum(prod(shape) for _, shape in self.inputs)

    def shapes(self) -> dict[str, Shape]:
        """Returns the shape of each input."""
        return dict(self.inputs)

    def document(self) -> dict[str, list[int]]:
        """Returns the shape of each input as JSON."""
        return {name: list(shape) for name, shape in self.inputs}

    def __str__(self) -> str:
        return ", ".join(f"{name}={'x'.join(map(str, shape)) or 'scalar'}" for name, shape in self.inputs)


def by_size(shapes: Iterable[RequestShape]) -> list[RequestShape]:
    """Returns shapes from the smallest to the largest, each once."""
    return sorted(set(shapes), key=lambda shape: (shape.size, shape.inputs))


class ShapeCounts:
    """Counts of the shapes of requests, of at most `most` different ones.

    A further shape takes the place of a neighbor: of two neighbors by size, the pair with the fewest
    requests is joined at the larger one, so a quantile is never too small.
    """

    def __init__(self, counts: Mapping[RequestShape, int] | None = None, most: int = MOST_SHAPES) -> None:
        require(most >= 1, f"shapes: most {most} must be >= 1")
        self._most = most
        self._counts: dict[RequestShape, int] = {}
        for shape, count in (counts or {}).items():
            self.add(shape, count)

    def add(self, shape: RequestShape, count: int = 1) -> None:
        """Counts requests of a shape."""
        require(count >= 0, f"shapes: count {count} of {shape} must be >= 0")
        self._counts[shape] = self._counts.get(shape, 0) + count
        if len(self._counts) > self._most:
            self._join()

    def counts(self) -> dict[RequestShape, int]:
        """Returns the counts, from the smallest shape to the largest."""
        return {shape: self._counts[shape] for shape in by_size(self._counts)}

    def _join(self) -> None:
        ordered = by_size(self._counts)
        together = [self._counts[a] + self._counts[b] for a, b in pairwise(ordered)]
        least = together.index(min(together))
        smaller, larger = ordered[least], ordered[least + 1]
        self._counts[larger] += self._counts.pop(smaller)


def quantile(counts: Mapping[RequestShape, int], percentile: float) -> RequestShape | None:
    """Returns the smallest counted shape that at least `percentile` % of the requests do not exceed.

    None without requests.

    Raises:
        BadValueError: The percentile is not above 0 and at most 100.
    """
    require(0 < percentile <= 100, f"shapes: percentile {percentile} must be above 0 and at most 100")
    total, seen = sum(counts.values()), 0
    for shape in by_size(shape for shape, count in counts.items() if count):
        seen += counts[shape]
        if 100 * seen >= percentile * total:
            return shape
    return None


def measured_shapes(typical: RequestShape, largest: RequestShape) -> tuple[RequestShape, ...]:
    """Returns the shapes at which a model is measured, from the smallest to the largest, each once.

    They are the two given ones and one between. Its sizes lie in the middle, at a multiple of the power of
    two that divides both, at most 32, if there is one between: networks that halve images five times refuse
    others.

    Raises:
        BadValueError: The two have different inputs or numbers of dimensions.
    """
    one, other = typical.shapes(), largest.shapes()
    require(
        one.keys() == other.keys() and all(len(one[name]) == len(other[name]) for name in one),
        f"shapes: the typical shape {typical} and the largest {largest} differ in inputs or dimensions",
    )
    between = {name: tuple(map(_middle, one[name], other[name])) for name in one}
    return tuple(by_size([typical, RequestShape.of(between), largest]))


def _middle(one: int, other: int) -> int:
    common, middle = gcd(one, other), (one + other) / 2
    step = min(common & -common, _HALVED) or 1
    while step > 1 and round(middle / step) * step in (one, other):
        step //= 2
    return one if one == other else round(middle / step) * step
