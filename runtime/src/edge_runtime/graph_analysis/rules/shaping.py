"""Operators that change the shape of a tensor, and those that compute shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge_runtime.graph_analysis.reading import constant, numbers
from edge_runtime.graph_analysis.rules.registry import Result, Step, apart, axis_of, rule
from edge_runtime.graph_analysis.sizes import ONE, ROWS, Size, product
from edge_runtime.graph_analysis.values import Mixes, Value, broadcast

_MOST: Final = 64


@rule("Constant", exact=True)
def constants(step: Step) -> Sequence[Result]:
    """Constants in the file."""
    attributes = step.operator.attributes
    name = next(iter(attributes), "")
    found = attributes.get(name)
    if name == "value" and found is not None:
        return [constant(found, step.unknowns)]
    if name in ("value_int", "value_ints", "value_float", "value_floats"):
        import numpy as np

        if found is None:
            return [Value((step.unknowns.fresh(),))]
        return [numbers(np.array(found, np.int64 if "int" in name else np.float32), step.unknowns)]
    raise Mixes(f"its {name or 'value'} is not a tensor of numbers")


@rule("Shape", counting=True, exact=True)
def shape(step: Step) -> Sequence[Result]:
    """The sizes, including that of the rows' axis."""
    value = step.value()
    found = value.shape[slice(step.attribute("start", 0), step.attribute("end"))]
    return [Value((Size(len(found)),), None, found)]


@rule("Size", counting=True, exact=True)
def size(step: Step) -> Sequence[Result]:
    """The number of elements."""
    return [Value((), None, (product(step.value().shape),))]


@rule("ConstantOfShape", counting=True, exact=True)
def constant_of_shape(step: Step) -> Sequence[Result]:
    """One value everywhere; rows are separate if a dimension is the number of rows."""
    target, axis = _target(step.value())
    known = [d.known for d in target]
    fill = step.attribute("value")
    number = 0 if fill is None else _first(constant(fill, step.unknowns))
    if axis is None and number is not None and None not in known:
        count = product(target).number
        if count <= _MOST:
            return [Value(target, None, (Size(number),) * count)]
    return [Value(target, axis)]


@rule("Expand", counting=True, exact=True)
def expand(step: Step) -> Sequence[Result]:
    """A value common to all rows can be repeated for each row."""
    value = step.value()
    if value.counts:
        raise Mixes("repeats the number of rows")
    target, axis = _target(step.value(1))
    if any(d.signed or (d.known or 0) < 0 for d in target):
        raise Mixes("its target shape is not known")
    return [broadcast([value, Value(target, axis)], step.unknowns)]


@rule("Tile", counting=True, exact=True)
def tile(step: Step) -> Sequence[Result]:
    """Along other axes than the rows'; a value common to all rows can be repeated for each row."""
    value, repeats = step.value(), step.value(1)
    if value.counts or repeats.elements is None or None in repeats.elements:
        raise Mixes("its number of repeats is not known")
    times = [e for e in repeats.elements if e is not None]
    if len(times) != value.rank:
        raise Mixes("its number of repeats is not known")
    if value.axis is not None:
        if times[value.axis] != ONE or any(t.rows for t in times):
            raise Mixes("repeats the rows")
        return [value.shaped([d.times(t) for d, t in zip(value.shape, times, strict=True)], value.axis)]
    shape = tuple(d.times(t) for d, t in zip(value.shape, times, strict=True))
    return [Value(shape, _rows_in(shape))]


@rule("Transpose", exact=True)
def transpose(step: Step) -> Sequence[Result]:
    """Moves the rows' axis."""
    value = step.value()
    order = step.attribute("perm", list(range(value.rank))[::-1])
    if sorted(order) != list(range(value.rank)):
        raise Mixes("its order of axes is invalid")
    axis = order.index(value.axis) if value.axis is not None else None
    return [value.shaped([value.shape[i] for i in order], axis)]


@rule("Flatten", exact=True)
def flatten(step: Step) -> Sequence[Result]:
    """To two dimensions."""
    value = step.value()
    axis = step.attribute("axis", 1)
    axis = axis + value.rank if axis < 0 else axis
    return [_reshaped(value, (product(value.shape[:axis]), product(value.shape[axis:])))]


@rule("Reshape", counting=True, exact=True)
def reshape(step: Step) -> Sequence[Result]:
    """To a shape in which the elements of each row stay contiguous."""
    value, wanted = step.value(), step.value(1)
    if wanted.axis is not None or wanted.elements is None or None in wanted.elements:
        raise Mixes("its target shape is not known")
    target = [e for e in wanted.elements if e is not None]
    vague = [d.signed and d.known is None for d in target]  # can be 0 or -1
    if value.axis not in (None, 0) and any(vague):
        raise Mixes("its target shape is not known")
    if not step.attribute("allowzero", 0):
        if any(d == Size(0) and i >= value.rank for i, d in enumerate(target)):
            raise Mixes("its target shape does not match its input")
        target = [value.shape[i] if d == Size(0) else d for i, d in enumerate(target)]
    if Size(-1) in target:
        at = target.index(Size(-1))
        rest = product(target[:at] + target[at + 1 :])
        left = product(value.shape).over(rest) if not rest.signed else None
        if left is None:
            if value.axis is not None and not rest.rows:
                raise Mixes("rows of the input need not be rows of its target shape")
            left = step.unknowns.fresh()
        target[at] = left
    # The meaning of a size that can be 0 or -1 depends on the tensor, so it is not equal to any other.
    target = [step.unknowns.fresh() if d.signed and d.known is None else d for d in target]
    if value.counts:
        if len(target) > 1:
            raise Mixes("reshapes the number of rows")
        return [Value(tuple(target), None, value.elements)]
    return [_reshaped(value, tuple(target))]


@rule("Squeeze", counting=True, exact=True)
def squeeze(step: Step) -> Sequence[Result]:
    """Removes the given axes."""
    value, axes = step.value(), step.integers("axes", 1)
    if axes is None:
        if value.axis is not None or any(d.known is None for d in value.shape):
            raise Mixes("removes the axis of a single row")
        axes = [i for i, d in enumerate(value.shape) if d == ONE]
    gone = {axis_of(axis, value.rank) for axis in axes}
    apart(value, list(gone), "removes an axis")
    kept = [i for i in range(value.rank) if i not in gone]
    axis = kept.index(value.axis) if value.axis is not None else None
    return [Value(tuple(value.shape[i] for i in kept), axis, value.elements)]


@rule("Unsqueeze", counting=True, exact=True)
def unsqueeze(step: Step) -> Sequence[Result]:
    """Adds axes of one element."""
    value, axes = step.value(), step.integers("axes", 1)
    if axes is None:
        raise Mixes("its axes are not known")
    rank = value.rank + len(axes)
    added = {axis_of(axis, rank) for axis in axes}
    kept = [i for i in range(rank) if i not in added]
    if len(kept) != value.rank:
        raise Mixes("its axes are invalid")
    shape = [ONE] * rank
    for i, d in zip(kept, value.shape, strict=True):
        shape[i] = d
    return [Value(tuple(shape), kept[value.axis] if value.axis is not None else None, value.elements)]


@rule("Range", exact=True)
def arange(step: Step) -> Sequence[Result]:
    """A range with bounds common to all requests."""
    step.commons()
    start, limit, by = (step.value(i) for i in range(3))
    ends = [v.integers for v in (start, limit, by)]
    if ends[0] == [0] and ends[2] == [1] and limit.elements and (end := limit.elements[0]) is not None:
        return [Value((step.unknowns.fresh() if end.signed or end.number < 0 else end,))]
    return [Value((step.unknowns.fresh(),))]


def _first(value: Value) -> int | None:
    found = value.integers
    return found[0] if found else None


def _reshaped(value: Value, target: tuple[Size, ...]) -> Value:
    """The rows' axis stays if the axes in front of it have as many elements as before."""
    if value.axis is None:
        if _rows_in(target) is not None:
            raise Mixes("splits a common axis into rows")
        return Value(target, None, value.elements)
    axis = _rows_in(target)
    if axis is None:
        raise Mixes("folds the rows into a shape without them")
    if product(value.shape[: value.axis]) != product(target[:axis]):
        raise Mixes("reorders the rows")
    return value.shaped(target, axis)


def _target(value: Value) -> tuple[tuple[Size, ...], int | None]:
    """A computed shape, and the position of the number of rows in it."""
    if value.axis is not None or value.elements is None or None in value.elements:
        raise Mixes("its target shape is not known")
    shape = tuple(e for e in value.elements if e is not None)
    return shape, _rows_in(shape)


def _rows_in(shape: Sequence[Size]) -> int | None:
    """The dimension that is a multiple of the number of rows; None if no dimension is.

    Raises Mixes if there are several, or the number of rows occurs in another way.
    """
    found = [i for i, d in enumerate(shape) if d.rows]
    if not found:
        return None
    if len(found) > 1 or shape[found[0]].rows > 1 or shape[found[0]].over(ROWS) is None:
        raise Mixes("has the rows in more than one dimension")
    return found[0]
