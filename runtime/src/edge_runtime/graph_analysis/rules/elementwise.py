"""Operators whose output elements depend only on the input elements at the same place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edge_runtime.graph_analysis.rules.registry import Result, Step, in_front, rule
from edge_runtime.graph_analysis.sizes import Size, Unknowns, count
from edge_runtime.graph_analysis.values import Mixes, Value, broadcast

_STRING: Final = 8
_FLOATS: Final = (1, 11)  # FLOAT, DOUBLE: keep any number
_WHOLE: Final = (6, 7)  # INT32, INT64: keep a count, but not a fraction

_Element = Size | None


@rule(
    "Abs", "Add", "And", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Ceil",
    "Div", "Equal", "Floor", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "LeakyRelu", "Less",
    "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Relu", "Round",
    "Shrink", "Sign", "Sub", "Sum", "ThresholdedRelu", "Where", "Xor",
    counting=True,
    exact=True,
)  # fmt: skip
@rule(
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp",
    "Gelu", "HardSigmoid", "HardSwish", "Log", "Mish", "Pow", "Reciprocal", "Selu", "Sigmoid",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh",
    counting=True,
)  # fmt: skip
def elementwise(step: Step) -> Sequence[Result]:
    """Broadcasts all inputs against each other."""
    return [_combined(step, step.given(), _WAYS.get(step.operator.kind))]


@rule("Identity", counting=True, exact=True)
def identity(step: Step) -> Sequence[Result]:
    """Returns the input unchanged."""
    return [step.value()]


@rule("Cast", counting=True, exact=True)
def cast(step: Step) -> Sequence[Result]:
    """Between numeric datatypes only."""
    to = step.attribute("to")
    if to == _STRING:
        raise Mixes("creates strings")
    way = (lambda v: v[0]) if to in _FLOATS else _rounded if to in _WHOLE else None
    return [_combined(step, [step.value()], way)]


@rule("CastLike", exact=True)
def cast_like(step: Step) -> Sequence[Result]:
    """Uses only the datatype of the second input."""
    return [step.same_results()]


@rule("Clip", exact=True)
def clip(step: Step) -> Sequence[Result]:
    """With scalar bounds."""
    step.commons(1)
    return [step.same_results()]


@rule("Dropout", exact=True)
def dropout(step: Step) -> Sequence[Result]:
    """Identity outside of training."""
    step.commons(1)
    if step.has(2) and step.value(2).integers != [0]:
        raise Mixes("draws random numbers")
    return [step.same_results(), step.same_results()]


@rule("BatchNormalization")
def batch_normalization(step: Step) -> Sequence[Result]:
    """With given means and variances it is elementwise; with those of the batch it mixes rows."""
    step.commons(1)
    in_front(step.value(), "scales its channels")
    if step.attribute("training_mode", 0) or (step.version < 14 and len(step.operator.node.output) > 1):
        raise Mixes("normalizes by the mean over the rows")
    return [step.same_results()]


@rule("QuantizeLinear", "DequantizeLinear", exact=True)
def quantize(step: Step) -> Sequence[Result]:
    """With one scale for all, one for each place along another axis than the rows', or one for each row."""
    value, scale = step.value(), step.value(1)
    axis = step.attribute("axis", 1)
    axis = axis + value.rank if axis < 0 else axis
    along = scale.rank == 1 and count(scale.shape) != 1
    if scale.axis is not None:
        if not (scale.rank == 1 and value.axis == axis and value.shape[axis] == scale.shape[0]):
            raise Mixes("its scales do not belong to its rows")
        if step.has(2) and step.value(2).shape != scale.shape:
            raise Mixes("its zero points do not belong to its rows")
        return [step.same_results()]
    step.commons(1)
    if value.axis is not None and (scale.rank > 1 or (along and value.axis == axis)):
        raise Mixes("has a scale for each place along the rows")
    return [step.same_results()]


def _combined(step: Step, values: Sequence[Value], way: Callable[[Sequence[Size]], _Element] | None) -> Value:
    if not values:
        raise Mixes("has no inputs")
    counts = any(v.counts for v in values)
    if counts and any(v.axis is not None for v in values):
        raise Mixes("combines rows with their number")
    found = broadcast(values, step.unknowns)
    if found.axis is not None or any(v.elements is None for v in values):
        if counts:
            raise Mixes("computes with the number of rows")
        return found
    length = count(found.shape)
    if length is None or any(len(v.elements or ()) not in (1, length) or v.rank > 1 for v in values):
        if counts:
            raise Mixes("computes with the number of rows")
        return found
    columns = [(v.elements or ()) * (length if len(v.elements or ()) == 1 else 1) for v in values]
    elements = [_element(place, way, step.unknowns) for place in zip(*columns, strict=True)]
    return Value(found.shape, None, tuple(elements))


def _element(
    place: Sequence[_Element], way: Callable[[Sequence[Size]], _Element] | None, unknowns: Unknowns
) -> _Element:
    known = [e for e in place if e is not None]
    if len(known) == len(place) and way is not None and (found := way(known)) is not None:
        return found
    # A result computed from numbers common to all runs is common to all runs, too.
    return None if len(known) < len(place) or any(e.rows for e in known) else unknowns.fresh(signed=True)


def _negative(size: Size) -> Size:
    return Size(-size.number, size.unknowns, signed=True)


def _rounded(place: Sequence[Size]) -> _Element:
    """A number of unknown sign can be a fraction, and so can its product with the number of rows."""
    (size,) = place
    return size if size.known is not None or not size.signed else None


def _equal(place: Sequence[Size]) -> _Element:
    one, other = place
    if one.known is not None and other.known is not None:
        return Size(int(one == other))
    for size, number in ((one, other.known), (other, one.known)):
        if number is not None and number < 0 and not size.signed and size.number >= 0:
            return Size(0)  # dimensions are not negative
    return None


def _where(place: Sequence[Size]) -> _Element:
    condition, then, otherwise = place
    if condition.known is None:
        return then if then == otherwise else None
    return then if condition.known else otherwise


_WAYS: Final[Mapping[str, Callable[[Sequence[Size]], _Element]]] = {
    "Add": lambda v: v[0].plus(v[1]),
    "Sub": lambda v: v[0].plus(_negative(v[1])),
    "Mul": lambda v: v[0].times(v[1]),
    "Div": lambda v: v[0].over(v[1]),
    "Equal": _equal,
    "Where": _where,
    "Floor": _rounded,
    "Ceil": _rounded,
    "Round": _rounded,
}
