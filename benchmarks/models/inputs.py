"""Values for the inputs of a model: of its datatype, in the shape that the model gets in use."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Feeds = dict[str, Array]


@dataclass(frozen=True, slots=True)
class InputValues:
    """Shapes and values of one input.

    Attributes:
        shape: In use.
        other: A second one, where sizes are open.
        measured: Those at which a plan's latency is compared with the measured one, the same number for each
            input; default: the one in use.
        noise: Standard deviation of normal values.
        below: Limit of integers from 0.
        words: Texts to draw from.
        values: All elements, or one for all.
    """

    shape: tuple[int, ...]
    other: tuple[int, ...] | None = None
    noise: float | None = None
    below: int | None = None
    words: tuple[str, ...] = ()
    values: Any = None
    measured: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Self:
        """Reads an entry of a catalogue."""
        other = entry.get("other")
        return cls(
            tuple(entry["shape"]),
            None if other is None else tuple(other),
            entry.get("noise"),
            entry.get("below"),
            tuple(entry.get("words", ())),
            entry.get("values", entry.get("is")),
            tuple(map(tuple, entry.get("measured", ()))),
        )

    def array(self, dtype: npt.DTypeLike, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Returns values of this shape."""
        found: Array
        if self.noise is not None:
            found = rng.normal(0.0, self.noise, shape)
        elif self.below is not None:
            found = rng.integers(0, self.below, shape)
        elif self.words:
            found = rng.choice(np.array(self.words, object), shape)
        else:
            found = np.broadcast_to(np.asarray(self.values), shape)
        return np.array(found, dtype)


def requests(inputs: Mapping[str, InputValues], dtypes: Mapping[str, npt.DTypeLike]) -> list[Feeds]:
    """Returns the feeds of the requests: two in the shapes in use, and one in the others, if any."""
    rng = np.random.default_rng(13)
    shapes = [{name: each.shape for name, each in inputs.items()}] * 2
    if any(each.other is not None for each in inputs.values()):
        shapes.append({name: each.other or each.shape for name, each in inputs.items()})
    return [
        {name: inputs[name].array(dtypes[name], shape, rng) for name, shape in one.items()} for one in shapes
    ]


def measured_feeds(inputs: Mapping[str, InputValues], dtypes: Mapping[str, npt.DTypeLike]) -> list[Feeds]:
    """Returns the feeds of one request at each of the measured shapes."""
    rng, count = np.random.default_rng(14), max(len(each.measured) for each in inputs.values())
    return [
        {
            name: each.array(dtypes[name], each.measured[number] if each.measured else each.shape, rng)
            for name, each in inputs.items()
        }
        for number in range(max(count, 1))
    ]


def shown(feeds: Feeds) -> dict[str, list[int]]:
    """Returns the shape of each input."""
    return {name: list(array.shape) for name, array in feeds.items()}


def save_samples(path: Path, feeds: Feeds) -> None:
    """Writes inputs as one sample: along an additional dimension, texts as NumPy saves them."""
    arrays: dict[str, Any] = {
        name: (array.astype("U") if array.dtype.kind == "O" else array)[np.newaxis]
        for name, array in feeds.items()
    }
    np.savez(path, **arrays)
