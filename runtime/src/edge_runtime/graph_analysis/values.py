"""What the analysis knows of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_runtime.errors import EdgeError
from edge_runtime.graph_analysis.sizes import ONE, ROWS, Size, Unknowns


class Mixes(EdgeError):  # noqa: N818 - named by the reason, as in errors.py
    """The rows of a tensor cannot be proven to be kept apart; the message says why."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor in terms of the rows of the requests in one run.

    Where `axis` is None it is the same in every run, except for elements that contain ROWS. Else each row has
    one stretch of this axis, all equally long and in the order of the rows, and what is in it depends on this
    row alone.

    elements: of a small tensor of numbers what is known of each; None of one that depends on the number of
    rows in a way that is not known.
    exact: whether each element is the same bit by bit however many rows there are: not made of sums whose
    order depends on that, nor of functions whose last bit does.
    """

    shape: tuple[Size, ...]
    axis: int | None = None
    elements: tuple[Size | None, ...] | None = None
    exact: bool = True

    @property
    def rank(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    @property
    def counts(self) -> bool:
        """Whether it says something about the number of rows."""
        return self.elements is not None and any(e is None or e.rows for e in self.elements)

    @property
    def common(self) -> bool:
        """Whether it is the same in every run."""
        return self.axis is None and not self.counts

    @property
    def block(self) -> Size:
        """How much of the axis belongs to one row."""
        assert self.axis is not None
        found = self.shape[self.axis].over(ROWS)
        assert found is not None
        return found

    @property
    def integers(self) -> list[int] | None:
        """The elements where all are known numbers."""
        if self.elements is None:
            return None
        found = [e.known if e is not None else None for e in self.elements]
        return None if None in found else [f for f in found if f is not None]

    def shaped(self, shape: Sequence[Size], axis: int | None = None) -> Value:
        """A tensor computed from it, of unknown elements."""
        return replace(self, shape=tuple(shape), axis=axis, elements=None)


def common(value: Value | None, what: str) -> Value | None:
    """The value itself; Mixes where it is not the same in every run."""
    if value is not None and not value.common:
        raise Mixes(f"{what} depends on the request")
    return value


def broadcast(values: Sequence[Value], unknowns: Unknowns) -> Value:
    """The shape and the rows of an elementwise result.

    Mixes where the axis of one's rows meets anything but the rows of others or a single element.
    """
    rank = max(v.rank for v in values)
    ends = {v.axis - v.rank for v in values if v.axis is not None}
    if len(ends) > 1:
        raise Mixes("it combines rows with other rows")
    end = ends.pop() if ends else None
    shape: list[Size] = []
    for i in range(-rank, 0):
        there = [(v, v.shape[i]) for v in values if v.rank >= -i]
        if i == end:
            long = {d for v, d in there if v.axis is not None}
            if len(long) > 1 or any(v.axis is None and d != ONE for v, d in there):
                raise Mixes("it combines rows with something of another size along them")
            shape.append(long.pop())
            continue
        sizes = {d for _, d in there if d != ONE}
        known = [d for d in sizes if d.known is not None]
        shape.append(
            ONE if not sizes else [*known, *sizes][0] if known or len(sizes) == 1 else unknowns.fresh()
        )
    return Value(tuple(shape), None if end is None else rank + end)
