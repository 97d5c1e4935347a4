"""Fused operators that onnxruntime's optimizer writes into files, and attention."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.graph_analysis.rules.elementwise import elementwise
from edge_runtime.graph_analysis.rules.registry import MICROSOFT, Result, Step, apart, axis_of, rule
from edge_runtime.graph_analysis.sizes import ONE
from edge_runtime.graph_analysis.values import Mixes, Value, broadcast

rule("BiasGelu", "FastGelu", "Gelu", "QuickGelu", domain=MICROSOFT)(elementwise)


@rule("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def qlinear_binary(step: Step) -> Sequence[Result]:
    """With scales common to all rows."""
    step.common(1, 2, 4, 5, 6, 7)
    return [broadcast([step.value(0), step.value(3)], step.unknowns)]


@rule("QLinearLeakyRelu", "QLinearSigmoid", domain=MICROSOFT)
def qlinear_unary(step: Step) -> Sequence[Result]:
    """With scales common to all rows."""
    step.commons(1)
    return [step.same_results()]


@rule("QLinearSoftmax", domain=MICROSOFT)
def qlinear_softmax(step: Step) -> Sequence[Result]:
    """With scales common to all rows; an attribute selects the version of Softmax."""
    step.commons(1)
    value = step.value()
    axis = axis_of(step.attribute("axis", -1), value.rank)
    early = step.attribute("opset", 0) < 13
    apart(value, list(range(axis, value.rank)) if early else [axis], "normalizes")
    return [step.same_results()]


@rule("QLinearConcat", domain=MICROSOFT)
def qlinear_concat(step: Step) -> Sequence[Result]:
    """Inputs that each come with a scale and a zero point."""
    values = [v for i, v in enumerate(step.inputs[2:]) if i % 3 == 0 and v is not None]
    for index in range(len(step.inputs)):
        if index < 2 or (index - 2) % 3:
            step.common(index)
    axis = axis_of(step.attribute("axis"), values[0].rank)
    rows = values[0].axis
    if rows is not None and rows == axis:
        raise Mixes("concatenates rows")
    if any(v.axis != rows or (rows is not None and v.shape[rows] != values[0].shape[rows]) for v in values):
        raise Mixes("not all of its inputs have the same rows")
    shape = [d if i != axis else step.unknowns.fresh() for i, d in enumerate(values[0].shape)]
    return [values[0].shaped(shape, rows)]


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(step: Step) -> Sequence[Result]:
    """A sum, normalized along the last axis."""
    step.commons(2)
    total = broadcast([step.value(0), step.value(1)], step.unknowns)
    apart(total, [total.rank - 1], "normalizes")
    of_rows = total.shaped((*total.shape[:-1], ONE), total.axis)
    return [total, of_rows, of_rows, total]


@rule("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(step: Step) -> Sequence[Result]:
    """Embeddings of token numbers [rows, sequence], normalized."""
    tokens, table = step.value(), step.value(2)
    for index, given in enumerate(step.inputs[1:], 1):
        numbers = index in (1, 7, 8)  # segments, mask, positions
        if given is None or (given.common and (not numbers or (index == 8 and given.shape[0] == ONE))):
            continue
        if not numbers or given.axis != 0 or given.shape[0] != tokens.shape[0]:
            raise Mixes(f"input {index} does not have the rows of the others")
    if tokens.axis not in (None, 0):
        raise Mixes("its rows are not the first axis")
    made = tokens.shaped((*tokens.shape, table.shape[-1]), tokens.axis)
    return [made, tokens.shaped(tokens.shape[:1], tokens.axis), made]


@rule("Attention", domain=MICROSOFT)
def packed_attention(step: Step) -> Sequence[Result]:
    """On [rows, sequence, features], within each row; without a past state."""
    value = step.value()
    step.common(1, 2)
    if value.axis not in (None, 0) or value.rank != 3:
        raise Mixes("its rows are not the first axis")
    if any(step.has(index) for index in (4, 6, 7)):
        raise Mixes("has a past state")
    _mask(step, 3, value)
    _bias(step, 5, value)
    return [
        value.shaped((*value.shape[:2], step.unknowns.fresh()), value.axis),
        Mixes("returns a past state"),
    ]


@rule("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(step: Step) -> Sequence[Result]:
    """On [rows, sequence, features], within each row; without a past state."""
    query = step.value()
    if any(step.has(index) for index in range(6, len(step.inputs))):
        raise Mixes("has a past state")
    _same_rows(step, (1, 2), query)
    step.common(3)
    _mask(step, 4, query)
    _bias(step, 5, query)
    if query.rank != 3:
        raise Mixes("its inputs are packed")
    return [
        query.shaped((*query.shape[:2], step.unknowns.fresh()), query.axis),
        Mixes("returns a past state"),
    ]


@rule("Attention")
def attention(step: Step) -> Sequence[Result]:
    """On [rows, …, sequence, features], within each row; without a past state."""
    query = step.value()
    _same_rows(step, (1, 2), query)
    _bias(step, 3, query)
    if any(step.has(index) for index in range(4, len(step.inputs))):
        raise Mixes("has a past state")
    last = step.value(2).shape[-1] if query.rank == 4 else step.unknowns.fresh()
    return [query.shaped((*query.shape[:-1], last), query.axis), *[Mixes("returns a past state")] * 3]


def _same_rows(step: Step, indices: Sequence[int], value: Value) -> None:
    if value.axis not in (None, 0):
        raise Mixes("its rows are not the first axis")
    for index in indices:
        other = step.value(index)
        if other.axis != value.axis or (value.axis == 0 and other.shape[0] != value.shape[0]):
            raise Mixes("not all of its inputs have the same rows")


def _mask(step: Step, index: int, value: Value) -> None:
    """The mask must be per row or common to all rows."""
    if step.has(index):
        mask = step.value(index)
        own = mask.axis == 0 == value.axis and mask.shape[0] == value.shape[0]
        if not own and not (value.axis is None and mask.common):
            raise Mixes("its mask does not belong to its rows")


def _bias(step: Step, index: int, value: Value) -> None:
    """The bias must be per row or common to all rows."""
    if step.has(index):
        bias = step.value(index)
        own = bias.rank == 4 and bias.axis == 0 == value.axis and bias.shape[0] == value.shape[0]
        shared = bias.common and (bias.rank < 4 or bias.shape[0] == ONE)
        if not own and not shared:
            raise Mixes("its bias does not belong to its rows")
