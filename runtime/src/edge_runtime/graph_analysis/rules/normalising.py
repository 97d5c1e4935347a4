"""Operators along axes: normalizations, reductions, sorting and cumulative sums."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.graph_analysis.rules.registry import Result, Step, apart, axis_of, in_front, rule
from edge_runtime.graph_analysis.sizes import ONE, Size, product
from edge_runtime.graph_analysis.values import Mixes, Value


@rule("Hardmax", exact=True)
@rule("LogSoftmax", "Softmax")
def softmax(step: Step) -> Sequence[Result]:
    """Along one axis; before version 13, along that axis and all after it."""
    value = step.value()
    early = step.version < 13
    axis = axis_of(step.attribute("axis", 1 if early else -1), value.rank)
    apart(value, list(range(axis, value.rank)) if early else [axis], "normalizes")
    return [step.same_results()]


@rule("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer_normalization(step: Step) -> Sequence[Result]:
    """Over an axis and all after it."""
    step.commons(1)
    value = step.value()
    axis = axis_of(step.attribute("axis", -1), value.rank)
    apart(value, list(range(axis, value.rank)), "normalizes")
    if value.axis is not None and any(v.rank > value.rank - axis for v in step.given(1)):
        raise Mixes("its scale is one for each row")
    of_rows = value.shaped((*value.shape[:axis], *[ONE] * (value.rank - axis)), value.axis)
    return [step.same_results(), of_rows, of_rows]


@rule("InstanceNormalization", "GroupNormalization", "LRN")
def instance_normalization(step: Step) -> Sequence[Result]:
    """Each image separately."""
    step.commons(1)
    in_front(step.value(), "normalizes")
    return [step.same_results()]


@rule("LpNormalization")
def lp_normalization(step: Step) -> Sequence[Result]:
    """Along one axis."""
    value = step.value()
    apart(value, [axis_of(step.attribute("axis", -1), value.rank)], "normalizes")
    return [step.same_results()]


@rule("MeanVarianceNormalization")
def mean_variance_normalization(step: Step) -> Sequence[Result]:
    """Along several axes, by default including the rows'."""
    value = step.value()
    axes = step.attribute("axes", [0, 2, 3])
    apart(value, [axis_of(axis, value.rank) for axis in axes], "normalizes")
    return [step.same_results()]


@rule("ReduceMax", "ReduceMin", exact=True)
@rule(
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum",
    "ReduceSumSquare",
    counting=True,
)  # fmt: skip
def reduce(step: Step) -> Sequence[Result]:
    """Along the given axes."""
    value, axes = step.value(), step.integers("axes", 1)
    idle = not axes and step.attribute("noop_with_empty_axes", 0)
    if step.operator.kind == "ReduceProd" and value.rank == 1 and value.elements is not None and not idle:
        known = [e for e in value.elements if e is not None]
        if len(known) == len(value.elements):  # the number of elements of a shape
            return [Value((ONE,) if step.attribute("keepdims", 1) else (), None, (product(known),))]
    if value.counts:
        raise Mixes("computes with the number of rows")
    if idle:
        return [step.same_results()]
    gone = {axis_of(axis, value.rank) for axis in axes or range(value.rank)}
    apart(value, list(gone), "reduces")
    return [_without(value, gone, keep=bool(step.attribute("keepdims", 1)))]


@rule("ArgMax", "ArgMin", exact=True)
def argmax(step: Step) -> Sequence[Result]:
    """Along one axis."""
    value = step.value()
    axis = axis_of(step.attribute("axis", 0), value.rank)
    apart(value, [axis], "searches")
    return [_without(value, {axis}, keep=bool(step.attribute("keepdims", 1)))]


@rule("TopK", exact=True)
def topk(step: Step) -> Sequence[Result]:
    """Along one axis, with the same number for every row."""
    value = step.value()
    axis = axis_of(step.attribute("axis", -1), value.rank)
    apart(value, [axis], "sorts")
    step.commons(1)
    number = step.attribute("k")
    known = [number] if number is not None else step.value(1).integers
    shape = list(value.shape)
    shape[axis] = Size(known[0]) if known else step.unknowns.fresh()
    made = value.shaped(shape, value.axis)
    return [made, made]


@rule("CumSum", exact=True)
def cumsum(step: Step) -> Sequence[Result]:
    """Along one axis."""
    value, axes = step.value(), step.value(1).integers
    if axes is None or len(axes) != 1:
        raise Mixes("its axis is not known")
    apart(value, [axis_of(axes[0], value.rank)], "sums")
    return [step.same_results()]


def _without(value: Value, gone: set[int], *, keep: bool) -> Value:
    """Reduces axes to one element, or removes them."""
    if Size(0) in value.shape:  # onnxruntime's result for empty tensors has another shape
        raise Mixes("reduces a tensor without elements")
    if keep:
        return value.shaped([ONE if i in gone else d for i, d in enumerate(value.shape)], value.axis)
    kept = [i for i in range(value.rank) if i not in gone]
    axis = kept.index(value.axis) if value.axis is not None else None
    return value.shaped([value.shape[i] for i in kept], axis)
