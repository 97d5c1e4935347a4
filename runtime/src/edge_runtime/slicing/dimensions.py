"""Determines which dimensions of tensors are fixed, and which are an open dimension of an input.

A file's names of dimensions are not proof: exporters name a detector's boxes `batch`. Shapes are therefore
inferred once with a symbol for every open dimension of the inputs, and several times with numbers: a
dimension that is always the same number is fixed, and one that always equals an open dimension is that
dimension. Small numbers can coincide (`x[:2]` has two rows at batches 2 and 3), so ones and large primes are
used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

# A number is a fixed dimension; a string names an open one.
Size = int | str
# An inferred dimension; None if unknown.
Inferred = Sequence[Size | None]
DimensionSizes = Mapping[str, int]

_BATCHES: Final = (211, 100_003)
# Other open dimensions are multiples of this: networks that halve images five times add the halves up.
_HALVED: Final = 32
_OTHERS: Final = (7, 1009)


@dataclass(frozen=True, slots=True)
class OpenDimensions:
    """The open dimensions in the shapes of a model's inputs, and in unproven declarations.

    batches: first dimensions of inputs. others: their other ones. claimed: those of tensors known only from
    the file's declaration, with the name there.
    """

    shapes: Mapping[str, tuple[Size, ...]]
    batches: tuple[str, ...]
    others: tuple[str, ...]
    claimed: Mapping[str, str | None]

    @classmethod
    def of(cls, shapes: Mapping[str, Inferred]) -> OpenDimensions:
        """From the inputs in the file; an open dimension without a name gets a unique one."""
        taken = {size for shape in shapes.values() for size in shape if isinstance(size, str)}
        named = {
            name: tuple(own_name(name, axis, taken) if d is None else d for axis, d in enumerate(shape))
            for name, shape in shapes.items()
        }
        names = dict.fromkeys(d for shape in named.values() for d in shape if isinstance(d, str))
        first = {shape[0] for shape in named.values() if shape}
        return cls(
            named,
            tuple(name for name in names if name in first),
            tuple(name for name in names if name not in first),
            {},
        )

    def claiming(self, shapes: Mapping[str, Inferred]) -> OpenDimensions:
        """With the declarations of further tensors. A dimension with an input's name there proves nothing."""
        named, claimed = dict(self.shapes), dict[str, str | None]()
        for tensor, shape in shapes.items():
            sizes: list[Size] = []
            for axis, size in enumerate(shape):
                if not isinstance(size, int):
                    claimed[own_name(tensor, axis, self.names)] = size
                sizes.append(size if isinstance(size, int) else own_name(tensor, axis, self.names))
            named[tensor] = tuple(sizes)
        return OpenDimensions(named, self.batches, self.others, claimed)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all open dimensions."""
        return (*self.batches, *self.others, *self.claimed)

    def same_results(self) -> list[DimensionSizes]:
        """Samples in which all batches have one size, as in a request, and declarations are trusted."""
        found: list[dict[str, int]] = [dict.fromkeys(self.names, 1)]
        for batch, sizes in zip(_BATCHES, self.distinct(), strict=False):
            known = {**sizes, **dict.fromkeys(self.batches, batch)}
            found.append(known | {name: known[word] for name, word in self.claimed.items() if word in known})
        return _each_once(found)

    def distinct(self) -> list[DimensionSizes]:
        """Samples in which every open dimension has a different size."""
        found: list[dict[str, int]] = []
        for batch, other in zip(_BATCHES, _OTHERS, strict=True):
            claimed = [name for name, word in self.claimed.items() if word in self.batches]
            batches = zip((*self.batches, *claimed), _primes(batch), strict=False)
            rest = (*self.others, *(name for name in self.claimed if name not in claimed))
            others = zip(rest, _primes(other), strict=False)
            found.append(dict(batches) | {name: _HALVED * p for name, p in others})
        return _each_once(found)


def own_name(tensor: str, axis: int, taken: Collection[str]) -> str:
    """The name of an open dimension that is not known to equal another tensor's."""
    name = f"{tensor}.{axis}"
    while name in taken:
        name += "_"
    return name


def joined(
    tensor: str,
    symbolic: Inferred | None,
    sampled: Sequence[tuple[DimensionSizes, Inferred | None]],
    known: OpenDimensions,
) -> tuple[Size, ...] | None:
    """The dimensions of a tensor by its inferred shape with symbols, and with each sample.

    None if its rank is not known.
    """
    shapes = [shape for shape in (symbolic, *(shape for _, shape in sampled)) if shape is not None]
    if not shapes or len({len(shape) for shape in shapes}) > 1:
        return None
    found: list[Size] = []
    has_nothing = any(0 in shape for shape in known.shapes.values())
    for axis in range(len(shapes[0])):
        said = symbolic[axis] if symbolic is not None else None
        seen = [(sample, None if shape is None else shape[axis]) for sample, shape in sampled]
        size = _size(said, seen, known)
        # If onnx infers an empty tensor, onnxruntime may compute another shape (of a Slice).
        unknown = size is None or (size == 0 and not has_nothing)
        found.append(own_name(tensor, axis, known.names) if unknown or size is None else size)
    return tuple(found)


def _size(
    said: Size | None, seen: Sequence[tuple[DimensionSizes, Size | None]], known: OpenDimensions
) -> Size | None:
    """A fixed size, or the equal dimension of an input; None if it is neither."""
    numbers = [(sample, size) for sample, size in seen if isinstance(size, int)]
    if isinstance(said, int) and all(size == said for _, size in numbers):
        return said
    if said in known.names and all(sample[str(said)] == size for sample, size in numbers):
        return said
    if len(numbers) == len(seen) and len({size for _, size in numbers}) == 1:
        return numbers[0][1]
    # Sizes of 1 can be too small for a network's windows; inference with the others must succeed.
    if any(not isinstance(size, int) and set(sample.values()) != {1} for sample, size in seen):
        return None
    same = [name for name in known.names if all(sample[name] == size for sample, size in numbers)]
    return same[0] if len(same) == 1 else None


def _each_once(samples: Sequence[dict[str, int]]) -> list[DimensionSizes]:
    return [sample for i, sample in enumerate(samples) if sample not in samples[:i]]


def _primes(first: int) -> Iterator[int]:
    number = first
    while True:
        if all(number % divisor for divisor in range(2, isqrt(number) + 1)):
            yield number
        number += 1
