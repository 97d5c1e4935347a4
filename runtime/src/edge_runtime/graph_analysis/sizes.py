"""Sizes of dimensions as far as they are known without a request: products of a number and of unknown sizes.

A size that every request has in common may be unknown, yet it is the same in every run; the number of rows is
not. So `ROWS` is an unknown of its own, and whether a size contains it is what the analysis is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final

_ROWS: Final = "rows"
_LARGEST: Final = (1 << 63) - 1
_MOST: Final = 64  # factors that are not known


@dataclass(frozen=True, slots=True)
class Size:
    """`number` times each of the `unknowns`; unknowns are sorted, and one may occur twice.

    `signed`: it may be negative, so it is a number that was computed and not surely a dimension.
    """

    number: int
    unknowns: tuple[str, ...] = ()
    signed: bool = field(default=False, compare=False)

    @property
    def rows(self) -> int:
        """How often the number of rows is a factor."""
        return self.unknowns.count(_ROWS)

    @property
    def known(self) -> int | None:
        """The number, where nothing is unknown."""
        return None if self.unknowns else self.number

    def times(self, other: Size) -> Size:
        """The product; OverflowError for what no tensor can have."""
        number = self.number * other.number
        if abs(number) > _LARGEST or len(self.unknowns) + len(other.unknowns) > _MOST:
            raise OverflowError("no tensor is of such a size")
        unknowns = tuple(sorted(self.unknowns + other.unknowns)) if number else ()
        return Size(number, unknowns, self.signed or other.signed)

    def over(self, other: Size) -> Size | None:
        """The quotient where it is a whole number for all values of the unknowns, else None."""
        have, needed = Counter(self.unknowns), Counter(other.unknowns)
        if other.number == 0 or self.number % other.number or needed - have:
            return None
        left = tuple(sorted((have - needed).elements()))
        return Size(self.number // other.number, left, self.signed or other.signed)

    def plus(self, other: Size) -> Size | None:
        """The sum where it is again such a product, else None."""
        if self.unknowns == other.unknowns or 0 in (self.number, other.number):
            unknowns = (self if self.number else other).unknowns
            number = self.number + other.number
            return Size(number, unknowns if number else (), self.signed or other.signed)
        return None


ROWS: Final = Size(1, (_ROWS,))
ONE: Final = Size(1)


def size(number: int) -> Size:
    """A known one."""
    return Size(number)


def product(sizes: Iterable[Size]) -> Size:
    """Of all; 1 of none."""
    found = ONE
    for each in sizes:
        found = found.times(each)
    return found


class Unknowns:
    """Gives out sizes that are equal to no other, as far as is known."""

    def __init__(self) -> None:
        self._count = 0

    def fresh(self, signed: bool = False) -> Size:
        """One more."""
        self._count += 1
        return Size(1, (f"u{self._count}",), signed)

    def shape(self, shape: Sequence[int | None]) -> tuple[Size, ...]:
        """With a fresh unknown for each None."""
        return tuple(self.fresh() if d is None else Size(d) for d in shape)


def count(shape: Sequence[Size]) -> int | None:
    """Of the elements of a shape; None where that is not known."""
    known = [d.known for d in shape]
    return None if None in known else prod(k for k in known if k is not None)
