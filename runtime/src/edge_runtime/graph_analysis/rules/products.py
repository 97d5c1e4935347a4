"""Products and convolutions, with the same weights for each row."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.graph_analysis.rules.registry import MICROSOFT, Result, Step, in_front, rule
from edge_runtime.graph_analysis.sizes import Size
from edge_runtime.graph_analysis.values import Mixes, Value, broadcast


@rule("MatMul")
def matmul(step: Step) -> Sequence[Result]:
    """Rows are a leading axis, the rows of the left matrix, or the columns of the right one."""
    return [multiplied(step, step.value(0), step.value(1))]


@rule("MatMulInteger", exact=True)
def matmul_integer(step: Step) -> Sequence[Result]:
    """Like MatMul, with zero points common to all rows."""
    step.single(2)
    step.commons(3)
    return [multiplied(step, step.value(0), step.value(1))]


@rule("QLinearMatMul")
def qlinear_matmul(step: Step) -> Sequence[Result]:
    """Like MatMul, with scales common to all rows."""
    step.single(1, 2, 6, 7)
    step.common(4, 5)
    return [multiplied(step, step.value(0), step.value(3))]


@rule("FusedMatMul", domain=MICROSOFT)
def fused_matmul(step: Step) -> Sequence[Result]:
    """Like MatMul, with either matrix transposed."""
    if step.attribute("transBatchA", 0) or step.attribute("transBatchB", 0):
        raise Mixes("transposes more than two axes")
    a, b = step.value(0), step.value(1)
    a, b = turned(a) if step.attribute("transA", 0) else a, turned(b) if step.attribute("transB", 0) else b
    return [multiplied(step, a, b)]


@rule("Gemm")
@rule("Gemm", "FusedGemm", domain=MICROSOFT)
def gemm(step: Step) -> Sequence[Result]:
    """With either matrix transposed, and an addend."""
    a, b = step.value(0), step.value(1)
    a, b = turned(a) if step.attribute("transA", 0) else a, turned(b) if step.attribute("transB", 0) else b
    made = multiplied(step, a, b)
    return [broadcast([made, step.value(2)], step.unknowns) if step.has(2) else made]


@rule("QGemm", domain=MICROSOFT)
def qgemm(step: Step) -> Sequence[Result]:
    """With scales common to all rows."""
    step.single(1, 2, 7, 8)
    step.common(4, 5, 6)
    a, b = step.value(0), step.value(3)
    a, b = turned(a) if step.attribute("transA", 0) else a, turned(b) if step.attribute("transB", 0) else b
    return [multiplied(step, a, b)]


@rule("Conv", "ConvTranspose")
@rule("FusedConv", domain=MICROSOFT)
def conv(step: Step) -> Sequence[Result]:
    """Each image with the same weights; the fused operator adds another image."""
    value, weight = step.value(), step.value(1)
    in_front(value, "convolves")
    step.common(1, 2)
    transposed = step.operator.kind == "ConvTranspose"
    kernel = [d.known for d in weight.shape[2:]]
    shape = [*value.shape[:1], step.unknowns.fresh() if transposed else weight.shape[0]]
    spatial = [step.unknowns.fresh() for _ in kernel] if transposed else windows(step, value, kernel)
    made = value.shaped([*shape, *spatial], value.axis)
    return [broadcast([made, step.value(3)], step.unknowns) if step.has(3) else made]


@rule("ConvInteger", exact=True)
def conv_integer(step: Step) -> Sequence[Result]:
    """With a zero point common to all rows."""
    value, weight = step.value(), step.value(1)
    in_front(value, "convolves")
    step.commons(1)
    step.single(2)
    return [_convolved(step, value, weight)]


@rule("QLinearConv")
@rule("QLinearConv", domain=MICROSOFT)
def qlinear_conv(step: Step) -> Sequence[Result]:
    """With scales common to all rows."""
    value, weight = step.value(), step.value(3)
    in_front(value, "convolves")
    step.commons(1)
    step.single(1, 2, 6, 7)
    if step.attribute("channels_last", 0):
        return [value.shaped((value.shape[0], *(step.unknowns.fresh() for _ in value.shape[1:])), value.axis)]
    return [_convolved(step, value, weight)]


@rule("GlobalMaxPool", "MaxPool", exact=True)
@rule("AveragePool", "GlobalAveragePool", "GlobalLpPool", "LpPool")
def pool(step: Step) -> Sequence[Result]:
    """Each image separately."""
    value = step.value()
    in_front(value, "pools")
    if step.operator.kind.startswith("Global"):
        sizes = [Size(1)] * (value.rank - 2)
    else:
        sizes = windows(step, value, list(step.attribute("kernel_shape")))
    made = value.shaped((*value.shape[:2], *sizes), value.axis)
    if value.axis is None:
        return [made, made]
    return [made, Mixes("its second output has indices into all rows")]


@rule("QLinearAveragePool", "QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_pool(step: Step) -> Sequence[Result]:
    """With scales common to all rows."""
    value = step.value()
    in_front(value, "pools")
    step.commons(1)
    return [value.shaped((value.shape[0], *(step.unknowns.fresh() for _ in value.shape[1:])), value.axis)]


@rule("Einsum")
def einsum(step: Step) -> Sequence[Result]:
    """The rows have a letter of their own, which is in the output."""
    values, equation = step.given(), str(step.attribute("equation", "")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow or "." in equation or any(len(t) != v.rank for t, v in zip(terms, values, strict=True)):
        raise Mixes("its equation is not supported")
    letters = {t[v.axis] for t, v in zip(terms, values, strict=True) if v.axis is not None}
    sizes: dict[str, Size] = {}
    for term, value in zip(terms, values, strict=True):
        for i, (letter, size) in enumerate(zip(term, value.shape, strict=True)):
            if letter in letters and (i != value.axis or sizes.get(letter, size) != size):
                raise Mixes("combines rows with other rows")
            sizes[letter] = size
    if not letters:
        return [Value(tuple(sizes[letter] for letter in right))]
    letter = letters.pop()
    if letters or right.count(letter) != 1:
        raise Mixes("sums over the rows")
    return [Value(tuple(sizes[each] for each in right), right.index(letter))]


def turned(value: Value) -> Value:
    """The value with its last two axes exchanged."""
    if value.rank < 2:
        return value
    order = [*range(value.rank - 2), value.rank - 1, value.rank - 2]
    axis = order.index(value.axis) if value.axis is not None else None
    return value.shaped([value.shape[i] for i in order], axis)


def multiplied(step: Step, a: Value, b: Value) -> Value:
    """The product of matrices or of batches of matrices."""
    if not a.rank or not b.rank:
        raise Mixes("multiplies a scalar")
    if (a.axis == a.rank - 1 and a.axis is not None) or (b.axis is not None and b.axis == max(b.rank - 2, 0)):
        raise Mixes("sums over the rows")
    left = a if a.rank > 1 else Value((Size(1), *a.shape))
    right = b if b.rank > 1 else Value((*b.shape, Size(1)))
    rank = max(left.rank, right.rank)
    # Like an elementwise operator: one element of each along the axes that are summed over.
    made = broadcast(
        [left.shaped((*left.shape[:-1], Size(1)), left.axis), right.shaped(_without_rows(right), right.axis)],
        step.unknowns,
    )
    shape, axis = list(made.shape), made.axis
    if b.rank == 1:
        shape.pop()
    if a.rank == 1:
        at = rank - 2
        shape.pop(at)
        axis = axis - 1 if axis is not None and axis > at else axis
    return Value(tuple(shape), axis)


def windows(step: Step, value: Value, kernel: Sequence[int | None]) -> list[Size]:
    """Number of windows along each axis of an image."""
    n = len(kernel)
    strides, dilations = (step.attribute(name) or [1] * n for name in ("strides", "dilations"))
    pads = step.attribute("pads") or [0] * (2 * n)
    plain = step.attribute("auto_pad", "NOTSET") in ("NOTSET", "VALID") and not step.attribute("ceil_mode", 0)
    found = []
    for i, size in enumerate(value.shape[2:]):
        long, wide = size.known, kernel[i]
        if not plain or long is None or wide is None:
            found.append(step.unknowns.fresh())
            continue
        room = long + pads[i] + pads[i + n] - dilations[i] * (wide - 1) - 1
        found.append(Size(max(room // strides[i] + 1, 0)))
    return found


def _convolved(step: Step, value: Value, weight: Value) -> Value:
    spatial = windows(step, value, [d.known for d in weight.shape[2:]])
    return value.shaped((value.shape[0], weight.shape[0], *spatial), value.axis)


def _without_rows(right: Value) -> list[Size]:
    shape = list(right.shape)
    shape[-2] = Size(1)
    return shape
