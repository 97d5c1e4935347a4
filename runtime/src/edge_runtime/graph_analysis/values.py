"""What the analysis knows of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_runtime.errors import EdgeError
from edge_runtime.graph_analysis.sizes import ONE, ROWS, Size, Unknowns


class Mixes(EdgeError):  # noqa: N818 - named by the reason, as in errors.py
    """The rows of a tensor are not proven to be separate; the message says why."""


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a tensor, in terms of the rows of the requests in one batch.

    axis: None if the tensor is the same in every run, except for elements that contain ROWS. Otherwise each
    row owns one block of this axis; the blocks have equal length and the order of the rows, and the content
    of a block depends on its row only.
    elements: what is known of each element of a small tensor of numbers; None for an element that depends on
    the number of rows in an unknown way.
    exact: whether each element is bitwise the same for any number of rows: it is not the result of sums whose
    order depends on that number, or of functions whose last bit does.
    """

    shape: tuple[Size, ...]
    axis: int | None = None
    elements: tuple[Size | None, ...] | None = None
    exact: bool = True

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def counts(self) -> bool:
        """Whether any element depends on the number of rows."""
        return self.elements is not None and any(e is None or e.rows for e in self.elements)

    @property
    def common(self) -> bool:
        """Whether it is the same in every run."""
        return self.axis is None and not self.counts

    @property
    def block(self) -> Size:
        """Length of one row's block along the axis."""
        assert self.axis is not None
        found = self.shape[self.axis].over(ROWS)
        assert found is not None
        return found

    @property
    def integers(self) -> list[int] | None:
        """The elements if all are known numbers, else None."""
        if self.elements is None:
            return None
        found = [e.known if e is not None else None for e in self.elements]
        return None if None in found else [f for f in found if f is not None]

    def shaped(self, shape: Sequence[Size], axis: int | None = None) -> Value:
        """A tensor computed from this one, with unknown elements."""
        return replace(self, shape=tuple(shape), axis=axis, elements=None)


def common(value: Value | None, what: str) -> Value | None:
    """Returns the value. Raises Mixes unless it is the same in every run."""
    if value is not None and not value.common:
        raise Mixes(f"{what} depends on the request")
    return value


def broadcast(values: Sequence[Value], unknowns: Unknowns) -> Value:
    """Shape and rows of an elementwise result.

    Raises Mixes if the axis of rows of one value is combined with anything but the rows of others or a single
    element.
    """
    rank = max(v.rank for v in values)
    ends = {v.axis - v.rank for v in values if v.axis is not None}
    if len(ends) > 1:
        raise Mixes("combines rows with other rows")
    end = ends.pop() if ends else None
    shape: list[Size] = []
    for i in range(-rank, 0):
        there = [(v, v.shape[i]) for v in values if v.rank >= -i]
        if i == end:
            long = {d for v, d in there if v.axis is not None}
            if len(long) > 1 or any(v.axis is None and d != ONE for v, d in there):
                raise Mixes("combines rows with an axis of another size")
            shape.append(long.pop())
            continue
        sizes = {d for _, d in there if d != ONE}
        known = [d for d in sizes if d.known is not None]
        shape.append(
            ONE if not sizes else [*known, *sizes][0] if known or len(sizes) == 1 else unknowns.fresh()
        )
    return Value(tuple(shape), None if end is None else rank + end)
