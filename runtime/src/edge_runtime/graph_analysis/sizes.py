"""Symbolic sizes of dimensions: products of a number and of unknown sizes.

An unknown size that does not depend on the request is the same in every run; the number of rows is not.
`ROWS` is therefore a separate unknown, and the analysis tracks which sizes contain it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final

_ROWS: Final = "rows"
_LARGEST: Final = (1 << 63) - 1
_MOST: Final = 64  # maximum unknown factors


@dataclass(frozen=True, slots=True)
class Size:
    """`number` times each of the `unknowns`, which are sorted and can repeat.

    signed: whether it can be negative, because it is a computed number and not known to be a dimension.
    """

    number: int
    unknowns: tuple[str, ...] = ()
    signed: bool = field(default=False, compare=False)

    @property
    def rows(self) -> int:
        """Exponent of the number of rows."""
        return self.unknowns.count(_ROWS)

    @property
    def known(self) -> int | None:
        """The number if there are no unknowns, else None."""
        return None if self.unknowns else self.number

    def times(self, other: Size) -> Size:
        """The product. Raises OverflowError for sizes that no tensor can have."""
        number = self.number * other.number
        if abs(number) > _LARGEST or len(self.unknowns) + len(other.unknowns) > _MOST:
            raise OverflowError("no tensor is of such a size")
        unknowns = tuple(sorted(self.unknowns + other.unknowns)) if number else ()
        return Size(number, unknowns, self.signed or other.signed)

    def over(self, other: Size) -> Size | None:
        """The quotient if it is an integer for all values of the unknowns, else None."""
        have, needed = Counter(self.unknowns), Counter(other.unknowns)
        if other.number == 0 or self.number % other.number or needed - have:
            return None
        left = tuple(sorted((have - needed).elements()))
        return Size(self.number // other.number, left, self.signed or other.signed)

    def plus(self, other: Size) -> Size | None:
        """The sum if it can be written as such a product, else None."""
        if self.unknowns == other.unknowns or 0 in (self.number, other.number):
            unknowns = (self if self.number else other).unknowns
            number = self.number + other.number
            return Size(number, unknowns if number else (), self.signed or other.signed)
        return None


ROWS: Final = Size(1, (_ROWS,))
ONE: Final = Size(1)


def size(number: int) -> Size:
    """A known size."""
    return Size(number)


def product(sizes: Iterable[Size]) -> Size:
    """Product of all; 1 for none."""
    found = ONE
    for each in sizes:
        found = found.times(each)
    return found


class Unknowns:
    """Creates sizes that are not known to equal any other."""

    def __init__(self) -> None:
        self._count = 0

    def fresh(self, *, signed: bool = False) -> Size:
        """A new unknown size."""
        self._count += 1
        return Size(1, (f"u{self._count}",), signed)

    def shape(self, shape: Sequence[int | None]) -> tuple[Size, ...]:
        """The shape with a new unknown for each None."""
        return tuple(self.fresh() if d is None else Size(d) for d in shape)


def count(shape: Sequence[Size]) -> int | None:
    """Number of elements of a shape; None if unknown."""
    known = [d.known for d in shape]
    return None if None in known else prod(k for k in known if k is not None)
