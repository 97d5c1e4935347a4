"""Operators that select parts of tensors, concatenate them, or look them up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge_runtime.graph_analysis.rules.registry import Result, Step, apart, axis_of, rule
from edge_runtime.graph_analysis.sizes import ONE, Size
from edge_runtime.graph_analysis.values import Mixes, Value

_END: Final = 10**9  # at most what exporters write for "to the end"; no batch is as large


@rule("Gather", counting=True, exact=True)
def gather(step: Step) -> Sequence[Result]:
    """Entries of a table by index, or places along another axis than the rows'."""
    data, indices = step.value(), step.value(1)
    axis = axis_of(step.attribute("axis", 0), data.rank)
    if data.elements is not None and data.rank == 1 and indices.common:
        return [_some(data, indices)]
    if data.counts or indices.counts:
        raise Mixes("computes with the number of rows")
    shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
    if data.axis is not None:
        if indices.axis is not None:
            raise Mixes("looks up rows by rows")
        apart(data, [axis], "gathers")
        return [data.shaped(shape, data.axis + (indices.rank - 1 if data.axis > axis else 0))]
    if indices.axis is not None:
        return [data.shaped(shape, axis + indices.axis)]
    return [data.shaped(shape)]


@rule("GatherElements", "ScatterElements", exact=True)
def gather_elements(step: Step) -> Sequence[Result]:
    """Along another axis than the rows', which is the same axis in all inputs."""
    data, indices = step.value(), step.value(1)
    axis = axis_of(step.attribute("axis", 0), data.rank)
    together = _aligned(step.given())
    if together is not None and together == axis:
        raise Mixes("looks up along the rows")
    return [
        (indices if step.operator.kind == "GatherElements" else data).shaped(
            indices.shape if step.operator.kind == "GatherElements" else data.shape, together
        )
    ]


@rule("GatherND", exact=True)
def gather_nd(step: Step) -> Sequence[Result]:
    """Entries of a table by several indices, or of each row by its own."""
    data, indices = step.value(), step.value(1)
    batch, width = step.attribute("batch_dims", 0), indices.shape[-1].known
    if width is None:
        raise Mixes("the number of its indices is not known")
    shape = (*indices.shape[:-1], *data.shape[batch + width :])
    if data.axis is None and batch == 0:
        if indices.axis == indices.rank - 1:
            raise Mixes("uses rows as indices")
        return [data.shaped(shape, indices.axis)]
    if batch > 0 and data.axis == indices.axis == 0 and data.shape[0] == indices.shape[0]:
        return [data.shaped(shape, 0)]
    if data.axis is None and indices.axis is None:
        return [data.shaped(shape)]
    raise Mixes("looks up along the rows")


@rule("OneHot", exact=True)
def one_hot(step: Step) -> Sequence[Result]:
    """Adds an axis."""
    step.commons(1)
    indices = step.value()
    axis = axis_of(step.attribute("axis", -1), indices.rank + 1)
    known = step.value(1).integers
    depth = Size(known[0]) if known else step.unknowns.fresh()
    shape = (*indices.shape[:axis], depth, *indices.shape[axis:])
    rows = indices.axis
    return [indices.shaped(shape, None if rows is None else rows + (axis <= rows))]


@rule("Concat", counting=True, exact=True)
def concat(step: Step) -> Sequence[Result]:
    """Along another axis than the rows', which all parts have."""
    parts = step.given()
    if not parts:
        raise Mixes("has no inputs")
    axis = axis_of(step.attribute("axis", 0), parts[0].rank)
    if all(p.axis is None for p in parts):
        if all(p.elements is not None and p.rank == 1 for p in parts):
            elements = tuple(e for p in parts for e in p.elements or ())
            return [Value((Size(len(elements)),), None, elements)]
        if any(p.counts for p in parts):
            raise Mixes("computes with the number of rows")
    rows = _aligned(parts)
    if rows == axis:
        raise Mixes("concatenates rows")
    return [parts[0].shaped(_joined(step, parts, axis), rows)]


@rule("Split", exact=True)
def split(step: Step) -> Sequence[Result]:
    """Along another axis than the rows'."""
    value, outputs = step.value(), step.operator.node.output
    axis = axis_of(step.attribute("axis", 0), value.rank)
    apart(value, [axis], "splits")
    sizes = [step.unknowns.fresh() for _ in outputs]
    if "split" in step.operator.attributes or step.has(1):
        known = step.integers("split", 1)
        sizes = [Size(s) for s in known or ()]
    elif (whole := value.shape[axis].known) is not None and whole % len(outputs) == 0:
        sizes = [Size(whole // len(outputs))] * len(outputs)
    return [value.shaped((*value.shape[:axis], s, *value.shape[axis + 1 :]), value.axis) for s in sizes]


@rule("Slice", counting=True, exact=True)
def slice_(step: Step) -> Sequence[Result]:
    """Along other axes than the rows', or all rows."""
    value = step.value()
    early = step.version < 10
    bounds = [_numbers(step, name, i) for name, i in (("starts", 1), ("ends", 2))]
    starts, ends = bounds
    length = len(starts or ends or ())
    axes = step.integers("axes", 3) or list(range(length))
    steps = None if early else step.integers("steps", 4) if step.has(4) else [1] * length
    steps = [1] * length if steps is None else steps
    if starts is None or ends is None or not len(starts) == len(ends) == len(axes) == len(steps):
        raise Mixes("its bounds are not known")
    shape = list(value.shape)
    for axis, start, end, by in zip(axes, starts, ends, steps, strict=True):
        at = axis_of(axis, value.rank)
        if at == value.axis:
            if start != Size(0) or by != 1 or not _all(end, value.shape[at]):
                raise Mixes("slices along the rows")
            continue
        if any(b is None or b.rows for b in (start, end)):
            raise Mixes("slices by the number of rows")
        shape[at] = _sliced(step, value.shape[at], start, end, by)
    if value.elements is not None and value.rank == 1 and length == 1:
        known = [starts[0].known if starts[0] else None, ends[0].known if ends[0] else None]
        if None not in known:
            kept = value.elements[slice(known[0], _stop(known[1], steps[0]), steps[0])]
            return [Value((Size(len(kept)),), None, kept)]
    if value.counts:
        raise Mixes("computes with the number of rows")
    return [value.shaped(shape, value.axis)]


@rule("Pad", exact=True)
def pad(step: Step) -> Sequence[Result]:
    """Along other axes than the rows'."""
    step.commons(1)
    value, pads = step.value(), step.integers("pads", 1)
    if pads is None:
        raise Mixes("its pads are not known")
    axes = step.integers("axes", 3) or list(range(value.rank))
    if len(pads) != 2 * len(axes):
        raise Mixes("its pads do not match its axes")
    shape = list(value.shape)
    for i, axis in enumerate(axes):
        more = pads[i], pads[i + len(axes)]
        at = axis_of(axis, value.rank)
        if at == value.axis and more != (0, 0):
            raise Mixes("pads along the rows")
        known = shape[at].known
        if more != (0, 0):
            shape[at] = Size(known + sum(more)) if known is not None else step.unknowns.fresh()
    return [value.shaped(shape, value.axis)]


@rule("Resize", "Upsample", counting=True)
def resize(step: Step) -> Sequence[Result]:
    """Along other axes than the rows'."""
    value = step.value()
    if value.counts or step.attribute("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise Mixes("crops")
    if step.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Mixes("its sizes depend on each other")
    at = [axis_of(axis, value.rank) for axis in step.attribute("axes") or range(value.rank)]
    wanted, absolute = _resized(step)
    if len(wanted) != len(at):
        raise Mixes("its sizes do not match its axes")
    shape = list(value.shape)
    for i, element in zip(at, wanted, strict=True):
        before = value.shape[i]
        if element == (before if absolute else ONE):
            continue
        if i == value.axis:
            raise Mixes("resizes along the rows")
        if element is None or element.rows:
            raise Mixes("resizes by the number of rows")
        shape[i] = step.unknowns.fresh() if element.signed else element if absolute else before.times(element)
    return [value.shaped(shape, value.axis)]


@rule("Trilu", exact=True)
def trilu(step: Step) -> Sequence[Result]:
    """Along the last two dimensions."""
    step.commons(1)
    value = step.value()
    apart(value, [value.rank - 1, value.rank - 2], "selects a triangle")
    return [step.same_results()]


@rule("GridSample")
def grid_sample(step: Step) -> Sequence[Result]:
    """Each image by its own grid."""
    picture, grid = step.value(), step.value(1)
    if _aligned([picture, grid]) not in (None, 0):
        raise Mixes("samples along the rows")
    return [picture.shaped((*picture.shape[:2], *grid.shape[1:-1]), picture.axis)]


@rule("DepthToSpace", "SpaceToDepth", exact=True)
def depth_to_space(step: Step) -> Sequence[Result]:
    """Within each image."""
    value, by = step.value(), Size(step.attribute("blocksize", 1))
    apart(value, [1, 2, 3], "moves elements")
    one, square = by, by.times(by)
    n, c, h, w = value.shape
    if step.operator.kind == "DepthToSpace":
        sizes = [c.over(square), h.times(one), w.times(one)]
    else:
        sizes = [c.times(square), h.over(one), w.over(one)]
    return [value.shaped((n, *(s or step.unknowns.fresh() for s in sizes)), value.axis)]


def _some(data: Value, indices: Value) -> Value:
    """Elements of a short vector by index."""
    numbers = indices.integers
    if data.elements is None or numbers is None or indices.rank > 1:
        if data.counts:
            raise Mixes("computes with the number of rows")
        return data.shaped(indices.shape)
    if any(not -len(data.elements) <= n < len(data.elements) for n in numbers):
        raise Mixes("its indices are out of range")
    return Value(indices.shape, None, tuple(data.elements[n] for n in numbers))


def _aligned(values: Sequence[Value]) -> int | None:
    """The axis of the rows, which must be the same size in all values or absent from all. Raises Mixes."""
    axes = {v.axis for v in values}
    if axes == {None}:
        return None
    axis = axes.pop()
    if axes or axis is None or len({v.shape[axis] for v in values}) > 1 or len({v.rank for v in values}) > 1:
        raise Mixes("not all of its inputs have the same rows")
    return axis


def _joined(step: Step, parts: Sequence[Value], axis: int) -> list[Size]:
    """The shape of the concatenated parts."""
    shape = list(parts[0].shape)
    total: Size | None = Size(0)
    for part in parts:
        total = total.plus(part.shape[axis]) if total is not None else None
    shape[axis] = total if total is not None else step.unknowns.fresh()
    for i in range(len(shape)):
        if i != axis and shape[i].known is None and i != parts[0].axis:
            known = [p.shape[i] for p in parts if p.rank == len(shape) and p.shape[i].known is not None]
            shape[i] = known[0] if known else shape[i]
    return shape


def _resized(step: Step) -> tuple[Sequence[Size | None], bool]:
    """The size of each axis, or the factors by which it grows; None if it depends on the rows."""
    early = step.operator.kind == "Upsample" or step.version < 11
    absolute = not early and step.has(3)
    factors = step.attribute("scales")
    if factors is not None:
        return [Size(int(f)) if f == int(f) else step.unknowns.fresh(signed=True) for f in factors], False
    given = step.value(1 if early else 3 if absolute else 2)
    if given.axis is not None:
        raise Mixes("its sizes depend on the request")
    if given.elements is not None:
        return given.elements, absolute
    length = given.shape[0].known or 0
    return [step.unknowns.fresh(signed=True) for _ in range(length)], absolute


def _numbers(step: Step, name: str, index: int) -> list[Size | None] | None:
    """What is known of the bounds of a slice."""
    found = step.attribute(name)
    if found is not None:
        return [Size(i) for i in found]
    if not step.has(index):
        return None
    value = step.value(index)
    if value.axis is not None:
        raise Mixes(f"its {name} depend on the request")
    if value.elements is None:
        length = value.shape[0].known if value.rank == 1 else None
        return None if length is None else [step.unknowns.fresh(signed=True) for _ in range(length)]
    return list(value.elements)


def _all(end: Size | None, size: Size) -> bool:
    return end is not None and (end == size or (end.known or 0) >= _END)


def _stop(end: int | None, by: int) -> int | None:
    """The stop of the Python slice that selects the same as an ONNX slice."""
    return None if by < 0 and end is not None and end < -_END else end


def _sliced(step: Step, size: Size, start: Size | None, end: Size | None, by: int) -> Size:
    known = size.known
    if start is None or end is None or known is None or start.known is None or end.known is None:
        if start == Size(0) and by == 1 and _all(end, size):
            return size
        return step.unknowns.fresh()
    return Size(len(range(known)[slice(start.known, _stop(end.known, by), by)]))
