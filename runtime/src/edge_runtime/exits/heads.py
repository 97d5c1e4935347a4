"""Heads of exits: a mean over positions and a linear layer, trained on features of a frozen backbone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from edge_runtime.errors import BadRequest
from edge_runtime.exits.files import ELEMENTS, batch_of
from edge_runtime.tensors import Array, Tensor

STRENGTHS: Final = (0.01, 0.1, 1.0)
"""Inverse strengths of regularization, of which the best on a part of the training samples is used."""
_PART: Final = 0.2
_ROUNDS: Final = 500
_UNSEEN: Final = -1e4
"""Score of classes without a sample: a probability of 0, within the range of FP16."""
_CHANNELS_FIRST: Final = frozenset(
    ["Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "BatchNormalization"]
)
_ELEMENTWISE: Final = frozenset(
    ["Add", "Clip", "Dropout", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish",
     "Mul", "PRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Tanh"]
)  # fmt: skip
_REDUCE_MEAN_INPUTS: Final = 18
"""Opset from which ReduceMean takes its axes as an input."""
_GEMM: Final = 7
"""Opset from which Gemm needs no attribute to add a row to a matrix."""


@dataclass(frozen=True, slots=True)
class Head:
    """Class scores from a tensor: mean over `axes`, then weights [features, classes] and bias [classes]."""

    tensor: str
    axes: tuple[int, ...]
    weights: Array
    bias: Array

    def scores(self, features: Array) -> Array:
        """Scores [N, classes] of features [N, features]."""
        found: Array = features @ self.weights + self.bias
        return found


def pooled_axes(model: ModelProto, tensor: Tensor) -> tuple[int, ...]:
    """The axes of positions of a tensor: all but the batch and the channels.

    Channels are the second axis of four or more; of three, the second behind a convolution or a pool, else
    the last, as in transformers.
    """
    rank = len(tensor.shape)
    if rank == 3 and not _behind_convolution(model, tensor.name):
        return (1,)
    return tuple(range(2, rank))


def _behind_convolution(model: ModelProto, name: str) -> bool:
    makers = {output: node for node in model.graph.node for output in node.output}
    seen: set[str] = set()
    while name in makers and name not in seen:
        seen.add(name)
        node = makers[name]
        if node.op_type in _CHANNELS_FIRST:
            return True
        if node.op_type not in _ELEMENTWISE:
            return False
        name = next((each for each in node.input if each in makers), "")
    return False


def features(array: Array, axes: tuple[int, ...]) -> Array:
    """Features [N, channels] of a tensor's values."""
    return array.mean(axis=axes, dtype=np.float32) if axes else array.astype(np.float32)


def trained(tensor: str, axes: tuple[int, ...], found: Array, labels: Array, classes: int, seed: int) -> Head:
    """Returns the head for features [N, features] and labels [N], by scikit-learn's logistic regression."""
    mean, spread = found.mean(axis=0), found.std(axis=0)
    spread[spread < 1e-6 * max(float(spread.max()), 1e-30)] = np.inf  # constant features tell nothing
    plain = (found - mean) / spread
    order = np.random.default_rng(seed).permutation(len(labels))
    part = order[: max(1, int(_PART * len(order)))]
    rest = order[len(part) :]

    def right(strength: float) -> float:
        if len(np.unique(labels[rest])) < 2:
            return 0.0
        weights, bias = _fitted(plain[rest], labels[rest], classes, strength)
        return float(((plain[part] @ weights + bias).argmax(1) == labels[part]).mean())

    weights, bias = _fitted(plain, labels, classes, max(STRENGTHS, key=right))
    weights = weights / spread[:, None]
    return Head(tensor, axes, weights.astype(np.float32), (bias - mean @ weights).astype(np.float32))


def _fitted(found: Array, labels: Array, classes: int, strength: float) -> tuple[Array, Array]:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise BadRequest(
            "exits train: scikit-learn is not installed: run pip install 'edge-runtime[exits]'"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an early stop regularizes, too
        fitted = LogisticRegression(C=strength, max_iter=_ROUNDS).fit(found, labels)
    weights = np.zeros((found.shape[1], classes))
    bias = np.full(classes, float(_UNSEEN))
    if len(fitted.classes_) == 2:  # one score, of the second class against the first
        low, high = fitted.classes_
        weights[:, high], bias[low], bias[high] = fitted.coef_[0], 0.0, fitted.intercept_[0]
    else:
        weights[:, fitted.classes_], bias[fitted.classes_] = fitted.coef_.T, fitted.intercept_
    return weights, bias


def append(model: ModelProto, head: Head, source: Tensor, output: Tensor, *, softmax: bool) -> None:
    """Appends the operators of a head to a model.

    source: the tensor that it reads. output: its result, whose name is also the prefix of its operators.
    softmax: whether it gives probabilities. Raises BadRequest for a default opset older than 7.
    """
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset < _GEMM:
        raise BadRequest(f"model: opset {opset} is older than {_GEMM}: export it with a newer one")

    def constant(what: str, array: Array) -> str:
        model.graph.initializer.append(numpy_helper.from_array(array, f"{output.name}_{what}"))
        return f"{output.name}_{what}"

    operators: list[tuple[str, list[str], dict[str, Any]]] = []
    if source.datatype != "FP32":
        operators.append(("Cast", [], {"to": ELEMENTS["FP32"]}))
    if head.axes and opset >= _REDUCE_MEAN_INPUTS:
        axes = constant("axes", np.array(head.axes, np.int64))
        operators.append(("ReduceMean", [axes], {"keepdims": 0}))
    elif head.axes:
        operators.append(("ReduceMean", [], {"axes": list(head.axes), "keepdims": 0}))
    operators.append(("Gemm", [constant("weights", head.weights), constant("bias", head.bias)], {}))
    if softmax:
        operators.append(("Softmax", [], {"axis": 1}))
    if output.datatype != "FP32":
        operators.append(("Cast", [], {"to": ELEMENTS[output.datatype]}))
    before = head.tensor
    for number, (kind, more, attributes) in enumerate(operators):
        made = output.name if number == len(operators) - 1 else f"{output.name}_{number}"
        name = f"{output.name}_{kind.lower()}_{number}"
        model.graph.node.append(helper.make_node(kind, [before, *more], [made], name=name, **attributes))
        before = made
    shape = [batch_of(model), len(head.bias)]
    model.graph.output.append(helper.make_tensor_value_info(output.name, ELEMENTS[output.datatype], shape))
