"""Floating-point operations of a layer, by its operator and its shapes.

A multiply and an add count as two operations. A comparison, a division, a square root and a transcendental
function count as one each; data movement counts as none. Tools that report multiply-accumulates (MACs) count
half as many for convolutions and matrix products. They differ in the other operators, whose share is small.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod

from edge_planning.graphs.operations import Attribute

Shape = tuple[int, ...]
Shapes = Sequence[Shape | None]
Attributes = Mapping[str, Attribute]
Rule = Callable[[Shapes, Sequence[Shape], Attributes], float]


def _each(operators: str, count: int) -> dict[str, int]:
    return dict.fromkeys(operators.split(), count)


MOVEMENTS = frozenset(
    _each(
        "Bernoulli BitCast Cast CastLike CenterCropPad Compress Concat ConcatFromSequence Constant "
        "ConstantOfShape DepthToSpace Dropout Expand EyeLike Flatten Gather GatherElements GatherND Identity "
        "ImageDecoder MaxUnpool Multinomial NonZero OneHot Optional OptionalGetElement OptionalHasElement "
        "Pad RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range RegexFullMatch Reshape "
        "ReverseSequence Scatter ScatterElements ScatterND SequenceAt SequenceConstruct SequenceEmpty "
        "SequenceErase SequenceInsert SequenceLength Shape Size Slice SpaceToDepth Split SplitToSequence "
        "Squeeze StringConcat StringNormalizer StringSplit TensorScatter Tile Transpose Trilu Unsqueeze",
        0,
    )
)

BY_OUTPUT: Mapping[str, int] = (
    _each(
        "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor "
        "Ceil Cos Cosh Div Equal Erf Exp Floor Greater GreaterOrEqual Hardmax IsInf IsNaN Less LessOrEqual "
        "Log Mod Mul Neg Not Or Pow Reciprocal Relu Round Sign Sin Sinh Sqrt Sub Tan Tanh ThresholdedRelu "
        "Where Xor",
        1,
    )
    | _each("BatchNormalization Clip DequantizeLinear LeakyRelu PRelu Shrink", 2)
    | _each("LpNormalization RotaryEmbedding Softplus Softsign", 3)
    | _each("Elu HardSigmoid RMSNormalization Sigmoid", 4)
    | _each("Celu Gelu HardSwish LogSoftmax MeanVarianceNormalization Mish QuantizeLinear", 5)
    | _each("Selu Softmax Swish", 5)
    | _each("DynamicQuantizeLinear GroupNormalization InstanceNormalization LayerNormalization", 7)
    | _each("GridSample", 9)
)
"""Operations per element of the first output."""

BY_INPUT: Mapping[str, int] = _each(
    "ArgMax ArgMin Col2Im CumProd CumSum GlobalAveragePool GlobalMaxPool MaxRoiPool ReduceLogSum ReduceMax "
    "ReduceMean ReduceMin ReduceProd ReduceSum TopK",
    1,
) | _each("GlobalLpPool ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare", 2)
"""Operations per element of the first input."""


def flops(operator: str, inputs: Shapes, outputs: Sequence[Shape], attributes: Attributes) -> float | None:
    """Returns the number of floating-point operations, or None if there is no rule for the operator.

    `inputs`: Shapes; None for an omitted input.

    Raises:
        ValueError, LookupError, TypeError, ZeroDivisionError: Shapes and attributes do not fit the operator.
    """
    if operator in MOVEMENTS:
        return 0.0
    if operator in BY_OUTPUT:
        return float(BY_OUTPUT[operator] * prod(outputs[0]))
    if operator in BY_INPUT:
        return float(BY_INPUT[operator] * prod(_given(inputs, 0)))
    rule = RULES.get(operator)
    return rule(inputs, outputs, attributes) if rule else None


def ints(attributes: Attributes, name: str, default: Sequence[int]) -> tuple[int, ...]:
    """Returns an attribute that is a list of integers."""
    value = attributes.get(name)
    return tuple(int(n) for n in value) if isinstance(value, tuple) else tuple(default)


def integer(attributes: Attributes, name: str, default: int) -> int:
    """Returns an attribute that is an integer."""
    value = attributes.get(name, default)
    return value if isinstance(value, int) else default


def _given(shapes: Shapes, index: int) -> Shape:
    shape = shapes[index] if index < len(shapes) else None
    if shape is None:
        raise ValueError(f"input {index} is missing")
    return shape


def _is_given(shapes: Shapes, index: int) -> bool:
    return index < len(shapes) and shapes[index] is not None


def _convolution(weight: int, bias: int) -> Rule:
    def rule(inputs: Shapes, outputs: Sequence[Shape], _: Attributes) -> float:
        # The weight is [filters, maps / group, *kernel]: its shape accounts for groups and dilations.
        count = prod(outputs[0])
        return float(2 * count * prod(_given(inputs, weight)[1:]) + count * _is_given(inputs, bias))

    return rule


def _transposed_convolution(inputs: Shapes, outputs: Sequence[Shape], _: Attributes) -> float:
    # Each input element is multiplied by a patch of [filters / group, *kernel].
    per_element = prod(_given(inputs, 1)[1:])
    return float(2 * prod(_given(inputs, 0)) * per_element + prod(outputs[0]) * _is_given(inputs, 2))


def _gemm(inputs: Shapes, outputs: Sequence[Shape], attributes: Attributes) -> float:
    inner = _given(inputs, 0)[0 if integer(attributes, "transA", 0) else 1]
    return float(prod(outputs[0]) * (2 * inner + _is_given(inputs, 2)))


def _product(inputs: Shapes, outputs: Sequence[Shape], _: Attributes) -> float:
    return float(2 * prod(outputs[0]) * _given(inputs, 0)[-1])


def _einsum(inputs: Shapes, outputs: Sequence[Shape], attributes: Attributes) -> float:
    terms = str(attributes["equation"]).replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for number, term in enumerate(terms):
        shape, letters = _given(inputs, number), term.replace("...", "")
        if len(letters) > len(shape) or ("..." not in term and len(letters) != len(shape)):
            raise ValueError(f"equation term {term} does not fit shape {shape}")
        head = len(term.split("...")[0])
        spread = len(shape) - len(letters)
        named = [*shape[:head], *shape[head + spread :]]
        for letter, size in [
            *zip(letters, named, strict=True),
            *((f"...{spread - n}", size) for n, size in enumerate(shape[head : head + spread])),
        ]:
            sizes[letter] = max(sizes.get(letter, 1), size)
    # Pairwise evaluation can cost less; for two operands, the usual case, this is the cost of the product.
    return float(len(terms) * prod(sizes.values())) if len(terms) > 1 else float(prod(_given(inputs, 0)))


def _pool(per_element: int) -> Rule:
    def rule(_: Shapes, outputs: Sequence[Shape], attributes: Attributes) -> float:
        return float(per_element * prod(outputs[0]) * prod(ints(attributes, "kernel_shape", ())))

    return rule


def _variadic(extra: int) -> Rule:
    def rule(inputs: Shapes, outputs: Sequence[Shape], _: Attributes) -> float:
        return float(prod(outputs[0]) * (len(inputs) - 1 + extra))

    return rule


def _local_response(_: Shapes, outputs: Sequence[Shape], attributes: Attributes) -> float:
    # The sum of squares over `size` neighbors; scale, shift and power; division.
    return float(prod(outputs[0]) * (2 * integer(attributes, "size", 1) + 4))


def _resize(inputs: Shapes, outputs: Sequence[Shape], attributes: Attributes) -> float:
    before, after, mode = _given(inputs, 0), outputs[0], attributes.get("mode", "nearest")
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    # Linear: 2^d - 1 interpolations of 3 operations; cubic: 4^d multiply-adds.
    each = {"linear": 3 * (2**changed - 1), "cubic": 2 * 4**changed}.get(str(mode), 0)
    return float(prod(after) * each)


def _recurrent(gates: int, per_unit: int) -> Rule:
    def rule(inputs: Shapes, _: Sequence[Shape], __: Attributes) -> float:
        steps, batch, width = _given(inputs, 0)
        directions, rows, hidden = _given(inputs, 2)
        if rows != gates * hidden:
            raise ValueError(f"recurrent weights have {rows} rows instead of {gates} x {hidden}")
        each = 2 * gates * hidden * (width + hidden) + (2 * gates + per_unit) * hidden
        return float(steps * batch * directions * each)

    return rule


def _attention(inputs: Shapes, outputs: Sequence[Shape], attributes: Attributes) -> float:
    query, key = _given(inputs, 0), _given(inputs, 1)
    heads = query[1] if len(query) == 4 else integer(attributes, "q_num_heads", 1)
    width = query[-1] if len(query) == 4 else query[-1] // heads
    rows, columns = query[0] * heads * query[-2], key[-2]
    mixed = prod(outputs[0]) // rows
    return float(rows * columns * (2 * width + 5 + 2 * mixed))


RULES: Mapping[str, Rule] = {
    "Attention": _attention,
    "AveragePool": _pool(1),
    "Conv": _convolution(1, 2),
    "ConvInteger": _convolution(1, -1),
    "ConvTranspose": _transposed_convolution,
    "Einsum": _einsum,
    "GRU": _recurrent(3, 13),
    "Gemm": _gemm,
    "LRN": _local_response,
    "LSTM": _recurrent(4, 18),
    "LpPool": _pool(2),
    "MatMul": _product,
    "MatMulInteger": _product,
    "Max": _variadic(0),
    "MaxPool": _pool(1),
    "Mean": _variadic(1),
    "Min": _variadic(0),
    "QLinearConv": _convolution(3, 8),
    "QLinearMatMul": _product,
    "RNN": _recurrent(1, 1),
    "Resize": _resize,
    "Sum": _variadic(0),
    "Upsample": _resize,
}
