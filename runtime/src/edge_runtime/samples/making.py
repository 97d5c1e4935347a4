"""Makes the inputs of a model: given ones, and for the rest zeros or generated values, with sizes of 1."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_runtime.errors import BadRequest
from edge_runtime.samples.flags import NOTHING, Given
from edge_runtime.samples.generating import generated, resized
from edge_runtime.samples.reading import read_literal, read_npy, read_npz
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor, width

MOST: Final = 8
"""Maximum samples that are used, evenly spread: the activations at each cut are kept for every sample."""
_LARGEST: Final = 4 << 30
_SHOWN: Final = 3

Shape = tuple[int, ...]
# A dimension of an input in a file: a size, the name of an open one, or None.
Dimensions = Mapping[str, Sequence[int | str | None]]


@dataclass(frozen=True, slots=True)
class Assumed:
    """The size assumed for an open dimension of an input; `symbol` is the file's name for it."""

    input: str
    dimension: int
    symbol: str | None
    size: int

    def document(self) -> dict[str, Any]:
        """The assumption as JSON."""
        return {
            "input": self.input,
            "dimension": self.dimension,
            "symbol": self.symbol,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class Samples:
    """The inputs that a model is run on: one sample or several, each with all inputs by name.

    values: `zeros`, `generated`, `given` or `samples`, by input. assumed: sizes that were not given. of:
    number of samples in the file, of which these are a selection.
    """

    inputs: tuple[Tensor, ...]
    feeds: tuple[dict[str, Array], ...]
    values: Mapping[str, str]
    assumed: tuple[Assumed, ...]
    of: int = 1

    @property
    def made(self) -> list[str]:
        """The inputs whose values were not given."""
        return [t.name for t in self.inputs if self.values[t.name] in ("zeros", "generated")]

    def sizes(self) -> dict[str, Shape]:
        """Shape by input, with -1 for an assumed size."""
        guessed = {(a.input, a.dimension) for a in self.assumed}
        return {
            name: tuple(-1 if (name, axis) in guessed else size for axis, size in enumerate(array.shape))
            for name, array in self.feeds[0].items()
        }

    def at(self, shapes: Mapping[str, Sequence[int]], ranges: Mapping[str, int] | None) -> Samples:
        """The samples with inputs of other shapes: given ones repeated or cropped, others generated."""
        feeds = tuple(
            {
                t.name: resized(feed[t.name], shapes[t.name])
                if self.values[t.name] in ("given", "samples")
                else _filling(t, shapes[t.name], ranges)
                for t in self.inputs
            }
            for feed in self.feeds
        )
        return Samples(self.inputs, feeds, self.values, (), self.of)

    def document(self) -> dict[str, Any]:
        """The samples as JSON."""
        return {
            "inputs": [
                {
                    "name": t.name,
                    "datatype": t.datatype,
                    "shape": list(self.feeds[0][t.name].shape),
                    "values": self.values[t.name],
                }
                for t in self.inputs
            ],
            "assumed": [a.document() for a in self.assumed],
            "samples": len(self.feeds),
        }

    def lines(self) -> list[str]:
        """A line for each input, with the flag to use for anything that is assumed."""
        return [self._line(t) for t in self.inputs]

    def advice(self) -> str:
        """The flags by which the assumed values and sizes can be given."""
        made, fixes = self.made, []
        if made:
            named = " ".join(f"--input {name}=VALUE" for name in made[:_SHOWN])
            fixes.append(f"values by {named} (one for all, or @FILE.npy) or --samples FILE.npz")
        if self.assumed:
            fixes.append(f"sizes by {self.shape_flags()}")
        return f"give {', and '.join(fixes)}" if fixes else "give others by --input, --samples or --shape"

    def shape_flags(self) -> str:
        """The flags by which the assumed sizes can be given."""
        shapes = [self._shape_flag(t) for t in self.inputs if any(a.input == t.name for a in self.assumed)]
        return " ".join(shapes[:_SHOWN])

    def _line(self, tensor: Tensor) -> str:
        shape = self.feeds[0][tensor.name].shape
        sizes = "x".join(map(str, shape)) if shape else "scalar"
        said = f"input {tensor.name}: {tensor.datatype} {sizes}, {self._said(tensor.name)}"
        assumed = [a for a in self.assumed if a.input == tensor.name]
        if not assumed:
            return said
        named = ", ".join(f"{a.dimension} ({a.symbol or '?'}) as {a.size}" for a in assumed)
        return f"{said}; open dimensions are assumed: {named}; {self._shape_flag(tensor)} sets others"

    def _said(self, name: str) -> str:
        if self.values[name] == "samples":
            return f"{len(self.feeds)} of {self.of} samples"
        return {"zeros": "all zeros", "generated": "generated values", "given": "given values"}[
            self.values[name]
        ]

    def _shape_flag(self, tensor: Tensor) -> str:
        open_ = {a.dimension: _placeholder(a) for a in self.assumed if a.input == tensor.name}
        shape = self.feeds[0][tensor.name].shape
        return f"--shape {tensor.name}={'x'.join(str(open_.get(i, d)) for i, d in enumerate(shape))}"


def _placeholder(assumed: Assumed) -> str:
    """Placeholder of a size in a flag; exporters' names are long and contain an x."""
    symbol = assumed.symbol or ""
    return symbol if re.fullmatch("[A-Z][A-Z0-9]{0,7}", symbol) else f"D{assumed.dimension}"


def make(
    inputs: Sequence[Tensor],
    dimensions: Dimensions,
    given: Given = NOTHING,
    ranges: Mapping[str, int] | None = None,
) -> Samples:
    """Makes the samples of a model with these inputs.

    ranges: values that inputs can look up, by input, for values that are not given (samples.generating); None
    for zeros. Raises BadRequest with flag, value and fix.
    """
    return _Making(inputs, dimensions, given, ranges).samples()


class _Making:
    def __init__(
        self,
        inputs: Sequence[Tensor],
        dimensions: Dimensions,
        given: Given,
        ranges: Mapping[str, int] | None,
    ) -> None:
        self._inputs, self._dimensions, self._given = tuple(inputs), dimensions, given
        self._ranges, self._rest = ranges, "zeros" if ranges is None else "generated"
        self._by_name = {t.name: t for t in inputs}
        self._sizes: dict[str, int] = {}  # of open dimensions by the file's names
        self._assumed: list[Assumed] = []
        self._of = 1

    def samples(self) -> Samples:
        for name, shape in self._given.shapes.items():
            self._check(self._tensor(name, "--shape"), shape, self._shape_flag(name))
            self._learn(name, shape)
        literals = {name: self._literal(name, text) for name, text in self._given.values.items()}
        whole = {name: array for name, array in literals.items() if array.ndim}
        for name, array in whole.items():
            self._learn(name, array.shape)
        rows = self._stacked(literals)
        feeds = [dict[str, Array]() for _ in range(len(next(iter(rows.values()))) if rows else 1)]
        values = {}
        for tensor in self._inputs:
            name = tensor.name
            values[name] = "samples" if name in rows else "given" if name in literals else self._rest
            one = None
            if name not in rows:
                one = whole[name] if name in whole else self._filled(tensor, literals.get(name))
            for i, feed in enumerate(feeds):
                feed[name] = rows[name][i] if one is None else one
        return Samples(self._inputs, tuple(feeds), values, tuple(self._assumed), self._of)

    def _tensor(self, name: str, flag: str) -> Tensor:
        tensor = self._by_name.get(name)
        if tensor is None:
            raise BadRequest(f'{flag}: "{name}" is not an input of the model: use {", ".join(self._by_name)}')
        return tensor

    def _shape_flag(self, name: str) -> str:
        return f"--shape {name}={'x'.join(map(str, self._given.shapes[name]))}"

    def _check(self, tensor: Tensor, shape: Shape, where: str) -> None:
        """Checks a shape against the input's and against --shape."""
        if tensor.any_rank:
            pass
        elif len(shape) != len(tensor.shape):
            raise BadRequest(
                f"{where}: {len(shape)} dimensions, but {tensor.name} has {len(tensor.shape)}: "
                f"{list(tensor.shape)}, where -1 is open"
            )
        else:
            for axis, (size, fixed) in enumerate(zip(shape, tensor.shape, strict=True)):
                if fixed >= 0 and size != fixed:
                    raise BadRequest(
                        f"{where}: dimension {axis} is {size}, but fixed to {fixed}: write {fixed}"
                    )
        wanted = self._given.shapes.get(tensor.name)
        if wanted is not None and shape != wanted:
            raise BadRequest(
                f"{where}: its shape is {list(shape)}, but {self._shape_flag(tensor.name)} is given, too: "
                f"omit one of the two"
            )
        if prod(shape) * width(tensor.datatype) > _LARGEST:
            raise BadRequest(f"{where}: larger than {_LARGEST >> 30} GiB: give a smaller shape")

    def _learn(self, name: str, shape: Shape) -> None:
        for symbol, size in zip(self._dimensions.get(name, ()), shape, strict=False):
            if isinstance(symbol, str) and symbol:
                self._sizes.setdefault(symbol, size)

    def _literal(self, name: str, text: str) -> Array:
        tensor, where = self._tensor(name, "--input"), f"--input {name}={text[:80]}"
        array = (
            read_npy(tensor, Path(text[1:]), where)
            if text.startswith("@")
            else read_literal(tensor, text, where)
        )
        if array.ndim or text.startswith("@"):
            self._check(tensor, array.shape, where)
        return array

    def _stacked(self, literals: Mapping[str, Array]) -> dict[str, list[Array]]:
        """The samples of each input in the file, the same number for all."""
        path = self._given.samples
        if path is None:
            return {}
        arrays = read_npz(path, lambda name: self._tensor(name, f"--samples {path}"))
        found: dict[str, list[Array]] = {}
        for name, array in arrays.items():
            where = f"--samples {path}: {name}"
            if name in literals:
                raise BadRequest(f"{where}: --input {name} is given, too: omit one of the two")
            found[name] = self._split(self._by_name[name], array, where)
        counts = {name: len(parts) for name, parts in found.items() if len(parts) != 1}
        if len(set(counts.values())) > 1:
            raise BadRequest(f"--samples {path}: the inputs have {counts} samples: give equally many of each")
        self._of = count = next(iter(counts.values()), 1)
        chosen = [round(i * (count - 1) / max(MOST - 1, 1)) for i in range(MOST)] if count > MOST else None
        for name, parts in found.items():
            whole = parts * count if len(parts) == 1 else parts
            found[name] = [whole[i] for i in chosen] if chosen else whole
        return found

    def _split(self, tensor: Tensor, array: Array, where: str) -> list[Array]:
        """Samples of an array: along an additional dimension, or along the input's first if that is open."""
        rank, shape = len(tensor.shape), array.shape
        if not tensor.any_rank and array.ndim == rank and rank and tensor.shape[0] < 0:
            wanted = self._given.shapes.get(tensor.name)
            rows = wanted[0] if wanted else self._size(tensor.name, 0)
            if not shape[0]:
                raise BadRequest(f"{where}: has no rows: give at least one sample")
            if not rows or shape[0] % rows:
                raise BadRequest(
                    f"{where}: {shape[0]} rows are not a multiple of the sample's {rows}: give one, "
                    f"or another --shape {tensor.name}"
                )
            parts = np.split(array, shape[0] // rows)
        elif not tensor.any_rank and array.ndim == rank + 1 and shape[0]:
            parts = list(array)
            parts = [np.asarray(part, array.dtype) for part in parts]
        else:
            parts = [array]
        self._check(tensor, parts[0].shape, where)
        self._learn(tensor.name, parts[0].shape)
        return parts

    def _filled(self, tensor: Tensor, value: Array | None) -> Array:
        """One value for all elements, by default those of `_filling`, in the given or assumed shape."""
        shape = self._given.shapes.get(tensor.name)
        if shape is None:
            shape = tuple(
                self._size(tensor.name, axis) if size < 0 else size for axis, size in enumerate(tensor.shape)
            )
        if value is None:
            return _filling(tensor, shape, self._ranges)
        return np.full(shape, value[()], dtype=NUMPY_TYPES[tensor.datatype])

    def _size(self, name: str, axis: int) -> int:
        symbols = self._dimensions.get(name, ())
        symbol = symbols[axis] if axis < len(symbols) else None
        called = symbol if isinstance(symbol, str) and symbol else None
        if called in self._sizes:
            return self._sizes[called]
        self._assumed.append(Assumed(name, axis, called, 1))
        return 1


def _filling(tensor: Tensor, shape: Sequence[int], ranges: Mapping[str, int] | None) -> Array:
    """Values that are not given: generated ones; without ranges 0, false or empty."""
    if ranges is not None:
        return generated(tensor, shape, ranges.get(tensor.name))
    return np.full(shape, "" if tensor.datatype == "BYTES" else 0, dtype=NUMPY_TYPES[tensor.datatype])
