"""Which dimensions of a model's tensors are fixed, which are an input's open one, and which neither.

A file's names for dimensions are no proof: exporters call a detector's boxes `batch`. So shapes are inferred
once with a name in place of every open dimension of the inputs, and several times with numbers: what is
always one number is fixed, and what is always the number of one open dimension is that dimension. A number
may be seen too rarely to tell (`x[:2]` has two rows at batches 2 and 3), hence ones and large primes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

# A number is fixed; a text names an open dimension.
Size = int | str
# As it was inferred: None is a dimension that is not known.
Inferred = Sequence[Size | None]
DimensionSizes = Mapping[str, int]

_BATCHES: Final = (211, 100_003)
# Other open dimensions are multiples of this: networks that halve pictures five times add the halves up.
_HALVED: Final = 32
_OTHERS: Final = (7, 1009)


@dataclass(frozen=True, slots=True)
class OpenDimensions:
    """The open dimensions in the shapes of a model's inputs, and in those that are only claimed.

    batches: first dimensions of inputs. others: their other ones. claimed: those of tensors of which only the
    file's word is known, with the name there.
    """

    shapes: Mapping[str, tuple[Size, ...]]
    batches: tuple[str, ...]
    others: tuple[str, ...]
    claimed: Mapping[str, str | None]

    @classmethod
    def of(cls, shapes: Mapping[str, Inferred]) -> OpenDimensions:
        """Of inputs as the file has them; an open dimension without a name gets one of its own."""
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
        """With what the file says of further tensors. That a dimension has an input's name proves nothing."""
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
        """All of them."""
        return (*self.batches, *self.others, *self.claimed)

    def same_results(self) -> list[DimensionSizes]:
        """Sizes where one number stands for all batches, as in a request, and claims are believed."""
        found: list[dict[str, int]] = [dict.fromkeys(self.names, 1)]
        for batch, sizes in zip(_BATCHES, self.distinct(), strict=False):
            known = {**sizes, **dict.fromkeys(self.batches, batch)}
            found.append(known | {name: known[word] for name, word in self.claimed.items() if word in known})
        return _each_once(found)

    def distinct(self) -> list[DimensionSizes]:
        """Sizes of which each stands for one open dimension only."""
        found: list[dict[str, int]] = []
        for batch, other in zip(_BATCHES, _OTHERS, strict=True):
            claimed = [name for name, word in self.claimed.items() if word in self.batches]
            batches = zip((*self.batches, *claimed), _primes(batch), strict=False)
            rest = (*self.others, *(name for name in self.claimed if name not in claimed))
            others = zip(rest, _primes(other), strict=False)
            found.append(dict(batches) | {name: _HALVED * p for name, p in others})
        return _each_once(found)


def own_name(tensor: str, axis: int, taken: Collection[str]) -> str:
    """The name of an open dimension that is not known to be another tensor's."""
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
    """The dimensions of a tensor by its shape as inferred with names, and with each sample.

    None when its rank is not known.
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
        # Where onnx finds that nothing is left of something, onnxruntime may think otherwise (of a Slice).
        unknown = size is None or (size == 0 and not has_nothing)
        found.append(own_name(tensor, axis, known.names) if unknown or size is None else size)
    return tuple(found)


def _size(
    said: Size | None, seen: Sequence[tuple[DimensionSizes, Size | None]], known: OpenDimensions
) -> Size | None:
    """A fixed size, or the input's dimension that this one is; None when it is neither."""
    numbers = [(sample, size) for sample, size in seen if isinstance(size, int)]
    if isinstance(said, int) and all(size == said for _, size in numbers):
        return said
    if said in known.names and all(sample[str(said)] == size for sample, size in numbers):
        return said
    if len(numbers) == len(seen) and len({size for _, size in numbers}) == 1:
        return numbers[0][1]
    # Sizes of one alone may be too small for a network's windows; the others have to be there.
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
