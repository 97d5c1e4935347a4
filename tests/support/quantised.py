"""Networks of quantized operators, in any order: QDQ, QOperator, quantized as they run, and weights alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from networks import info

WIDTH, PLANES, SIDE = 32, 4, 6
MICROSOFT = "com.microsoft"


class Network:
    """Operators in sequence, with the weights that they need."""

    def __init__(self, seed: int, opset: int) -> None:
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def one(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Adds an operator and returns its output."""
        return self.several(1, kind, *inputs, domain=domain, **attributes)[0]

    def several(self, count: int, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> list[str]:
        """Adds an operator and returns its outputs."""
        outputs = [f"t{len(self.nodes)}" + (f".{i}" if i else "") for i in range(count)]
        made: Any = helper.make_node(kind, list(inputs), outputs, domain=domain, **attributes)
        self.nodes.append(made)
        return outputs

    def constant(self, value: object) -> str:
        """A weight."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def noise(self, *shape: int, scale: float = 0.3) -> str:
        """A weight of noise."""
        return self.constant(self.random.normal(scale=scale, size=shape).astype(np.float32))

    def pick(self, *choices: Any) -> Any:
        """One of several."""
        return choices[self.random.integers(len(choices))]

    def quantised(self, value: str, kind: str = "") -> tuple[str, str, str]:
        """An activation as UINT8 or INT8, its scale and its zero point."""
        kind = kind or self.pick("uint8", "int8")
        scale = self.constant(np.float32(0.05))
        zero = self.constant(np.uint8(120) if kind == "uint8" else np.int8(3))
        return self.one("QuantizeLinear", value, scale, zero), scale, zero

    def rounded(self, value: str) -> str:
        """Through a QuantizeLinear and a DequantizeLinear."""
        return self.one("DequantizeLinear", *self.quantised(value))

    def whole(self, *shape: int, axis: int | None = None, kind: str = "") -> tuple[str, str, str]:
        """A quantized weight, its scale and its zero point: one, or one of each along an axis."""
        kind = kind or self.pick("uint8", "int8")
        low, zero = (0, np.uint8(100)) if kind == "uint8" else (-100, np.int8(0))
        weight = self.constant(self.random.integers(low, low + 200, shape).astype(zero.dtype))
        if axis is None:
            return weight, self.constant(np.float32(0.005)), self.constant(zero)
        scales = self.random.uniform(0.001, 0.006, shape[axis]).astype(np.float32)
        return weight, self.constant(scales), self.constant(np.full(shape[axis], zero))

    def weight(self, *shape: int, axis: int | None = None) -> str:
        """A weight behind a DequantizeLinear."""
        found = self.whole(*shape, axis=axis)
        if axis is None:
            return self.one("DequantizeLinear", *found)
        return self.one("DequantizeLinear", *found, axis=axis)

    def mean(self, value: str) -> str:
        """Over the last axis."""
        if self.opset < 18:
            return self.one("ReduceMean", value, axes=[-1])
        return self.one("ReduceMean", value, self.constant(np.array([-1])))


Block = Callable[[Network, str], str]


def weight_only(net: Network, x: str) -> str:
    """A MatMul, its weight quantized, with a bias or without."""
    made = net.one("MatMul", x, net.weight(WIDTH, WIDTH, axis=net.pick(None, 1)))
    return net.one("Add", made, net.noise(WIDTH)) if net.pick(True, False) else made


def weight_only_in_blocks(net: Network, x: str) -> str:
    """Four bits in blocks, by the operator of the opset or of onnxruntime."""
    if net.opset >= 21 and net.pick(True, False):
        name, count = f"w{len(net.weights)}", WIDTH * WIDTH
        bits = net.random.integers(-8, 7, count).tolist()
        net.weights.append(helper.make_tensor(name, TensorProto.INT4, (WIDTH, WIDTH), bits))
        scales = net.noise(WIDTH // 16, WIDTH, scale=0.02)
        return net.one("MatMul", x, net.one("DequantizeLinear", name, scales, axis=0, block_size=16))
    packed = net.constant(net.random.integers(0, 255, (WIDTH, 1, WIDTH // 2)).astype(np.uint8))
    scales = net.constant(net.random.uniform(0.01, 0.05, WIDTH).astype(np.float32))
    sizes = {"K": WIDTH, "N": WIDTH, "bits": 4, "block_size": WIDTH}
    return net.one("MatMulNBits", x, packed, scales, domain=MICROSOFT, **sizes)


def qdq_matmul(net: Network, x: str) -> str:
    """Between DequantizeLinear and QuantizeLinear, or with the former only."""
    made = net.one("MatMul", net.rounded(x), net.weight(WIDTH, WIDTH))
    return net.rounded(made) if net.pick(True, False) else made


def qdq_gemm(net: Network, x: str) -> str:
    """With a bias of integers."""
    bias = net.constant(net.random.integers(-500, 500, WIDTH).astype(np.int32))
    scale, zero = net.constant(np.float32(0.05 * 0.005)), net.constant(np.int32(0))
    made = net.one(
        "Gemm", net.rounded(x), net.weight(WIDTH, WIDTH), net.one("DequantizeLinear", bias, scale, zero)
    )
    return net.rounded(made) if net.pick(True, False) else made


def qlinear_matmul(net: Network, x: str) -> str:
    """QLinearMatMul."""
    value, scale, zero = net.quantised(x, "uint8")
    made = net.one("QLinearMatMul", value, scale, zero, *net.whole(WIDTH, WIDTH), scale, zero)
    return net.one("DequantizeLinear", made, scale, zero)


def quantised_gemm(net: Network, x: str) -> str:
    """QGemm."""
    found = net.quantised(x, "uint8")
    return net.one("QGemm", *found, *net.whole(WIDTH, WIDTH), domain=MICROSOFT)


def dynamic_matmul(net: Network, x: str) -> str:
    """DynamicQuantizeLinear and MatMulInteger, or onnxruntime's operator for both."""
    weight, scale, zero = net.whole(WIDTH, WIDTH)
    if net.pick(True, False):
        return net.one("DynamicQuantizeMatMul", x, weight, scale, zero, domain=MICROSOFT)
    value, step, offset = net.several(3, "DynamicQuantizeLinear", x)
    product = net.one("Cast", net.one("MatMulInteger", value, weight, offset, zero), to=TensorProto.FLOAT)
    made = net.one("Mul", product, net.one("Mul", step, scale))
    return net.one("Add", made, net.noise(WIDTH)) if net.pick(True, False) else made


def dynamic_rows(net: Network, x: str) -> str:
    """A scale for each item, computed in the graph."""
    size = net.one("Abs", x)
    if net.opset < 18:
        largest = net.one("ReduceMax", size, axes=[1], keepdims=1)
    else:
        largest = net.one("ReduceMax", size, net.constant(np.array([1])), keepdims=1)
    step = net.one(
        "Div", net.one("Add", largest, net.constant(np.float32(1e-6))), net.constant(np.float32(127))
    )
    value = net.one("Cast", net.one("Round", net.one("Div", x, step)), to=TensorProto.INT8)
    weight, scale, _ = net.whole(WIDTH, WIDTH, kind="int8")
    product = net.one("Cast", net.one("MatMulInteger", value, weight), to=TensorProto.FLOAT)
    return net.one("Mul", product, net.one("Mul", step, scale))


def activation(net: Network, x: str) -> str:
    """Rounded before it, after it, on both sides, or not at all."""
    before = net.rounded(x) if net.pick(True, False) else x
    made = net.one(net.pick("Softmax", "Sigmoid", "LeakyRelu", "Relu", "Tanh"), before)
    return net.rounded(made) if net.pick(True, False) else made


def bounded(net: Network, x: str) -> str:
    """A Clip."""
    return net.one("Clip", x, net.constant(np.float32(-1)), net.constant(np.float32(2)))


def halved(net: Network, x: str) -> str:
    """An activation in half precision."""
    half = net.one("Cast", x, to=TensorProto.FLOAT16)
    return net.one("Cast", net.one(net.pick("Relu", "Neg", "Sigmoid"), half), to=TensorProto.FLOAT)


def scaled(net: Network, x: str) -> str:
    """By one number."""
    return net.one(net.pick("Mul", "Div"), x, net.constant(np.float32(1.7)))


def qdq_two(net: Network, x: str) -> str:
    """Of two branches."""
    other = net.rounded(net.one("Tanh", x))
    return net.rounded(net.one(net.pick("Add", "Mul"), net.rounded(x), other))


def qlinear_two(net: Network, x: str) -> str:
    """QLinearAdd or QLinearSigmoid."""
    value, scale, zero = net.quantised(x)
    if net.pick(True, False):
        made = net.one("QLinearAdd", *(value, scale, zero) * 2, scale, zero, domain=MICROSOFT)
    else:
        made = net.one("QLinearSigmoid", value, scale, zero, scale, zero, domain=MICROSOFT)
    return net.one("DequantizeLinear", made, scale, zero)


def qdq_concat(net: Network, x: str) -> str:
    """Two parallel branches."""
    both = net.one("Concat", net.rounded(x), net.rounded(net.one("Neg", x)), axis=1)
    return net.one("MatMul", net.rounded(both), net.weight(2 * WIDTH, WIDTH))


def normalized(net: Network, x: str) -> str:
    """LayerNormalization as primitive operators, after an addition or not."""
    if net.pick(True, False):
        x = net.one("Add", x, weight_only(net, x))
    apart = net.one("Sub", x, net.mean(x))
    variance = net.mean(net.one("Pow", apart, net.constant(np.float32(2))))
    spread = net.one("Sqrt", net.one("Add", variance, net.constant(np.float32(1e-5))))
    made = net.one("Mul", net.one("Div", apart, spread), net.noise(WIDTH))
    return net.one("Add", made, net.noise(WIDTH))


def gelu(net: Network, x: str) -> str:
    """Gelu as primitive operators."""
    erf = net.one("Erf", net.one("Div", x, net.constant(np.float32(2**0.5))))
    made = net.one("Mul", x, net.one("Add", erf, net.constant(np.float32(1))))
    return net.one("Mul", made, net.constant(np.float32(0.5)))


def turned(net: Network, x: str) -> str:
    """Reshape and Transpose, quantized or not."""
    value, scale, zero = net.quantised(x) if net.pick(True, False) else (x, "", "")
    value = net.one("Reshape", value, net.constant(np.array([0, 4, WIDTH // 4])))
    value = net.one("Transpose", value, perm=[0, 2, 1])
    value = net.one("DequantizeLinear", value, scale, zero) if scale else net.one("Softmax", value, axis=-1)
    return net.one("Reshape", value, net.constant(np.array([0, WIDTH])))


def convolution(net: Network, x: str) -> str:
    """In float, with a quantized weight, or between DequantizeLinear and QuantizeLinear."""
    shape, pads = (PLANES, PLANES, 3, 3), [1, 1, 1, 1]
    weight = net.pick(net.noise, lambda *s: net.weight(*s, axis=net.pick(None, 0)))(*shape)
    made = net.one("Conv", net.rounded(x) if net.pick(True, False) else x, weight, pads=pads)
    made = net.one("Relu", made) if net.pick(True, False) else made
    return net.rounded(made) if net.pick(True, False) else made


def qlinear_convolution(net: Network, x: str) -> str:
    """QLinearConv."""
    value, scale, zero = net.quantised(x, "uint8")
    weights = net.whole(PLANES, PLANES, 3, 3)
    made = net.one("QLinearConv", value, scale, zero, *weights, scale, zero, pads=[1, 1, 1, 1])
    return net.one("DequantizeLinear", made, scale, zero)


def dynamic_convolution(net: Network, x: str) -> str:
    """DynamicQuantizeLinear and ConvInteger."""
    value, step, offset = net.several(3, "DynamicQuantizeLinear", x)
    weight, scale, zero = net.whole(PLANES, PLANES, 3, 3, kind="uint8")
    product = net.one("ConvInteger", value, weight, offset, zero, pads=[1, 1, 1, 1])
    made = net.one("Cast", product, to=TensorProto.FLOAT)
    made = net.one("Mul", made, net.one("Mul", step, scale))
    return net.one("Add", made, net.noise(1, PLANES, 1, 1))


def pooled(net: Network, x: str) -> str:
    """A pool, quantized or not."""
    before = net.rounded(x) if net.pick(True, False) else x
    made = net.one(net.pick("MaxPool", "AveragePool"), before, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return net.rounded(made) if net.pick(True, False) else made


def swapped(net: Network, x: str) -> str:
    """A Softmax over the planes."""
    last = net.one("Softmax", net.one("Transpose", x, perm=[0, 2, 3, 1]), axis=-1)
    return net.one("Transpose", last, perm=[0, 3, 1, 2])


def doubled(net: Network, x: str) -> str:
    """Two branches and a 1x1 convolution of them."""
    both = net.rounded(net.one("Concat", net.rounded(x), net.rounded(net.one("Relu", x)), axis=1))
    return net.one("Conv", both, net.weight(PLANES, 2 * PLANES, 1, 1))


EVERYWHERE: tuple[Block, ...] = (activation, bounded, halved, scaled, qdq_two)
FLAT: tuple[Block, ...] = (
    weight_only, weight_only_in_blocks, qdq_matmul, qdq_gemm, qlinear_matmul, quantised_gemm, dynamic_matmul,
    dynamic_rows, qlinear_two, qdq_concat, normalized, gelu, turned, *EVERYWHERE,
)  # fmt: skip
SQUARE: tuple[Block, ...] = (
    convolution, qlinear_convolution, dynamic_convolution, pooled, swapped, doubled, *EVERYWHERE
)  # fmt: skip


def network(seed: int, opset: int, blocks: Sequence[Block], *, square: bool) -> bytes:
    """x [N, ...] through blocks of one of the two kinds to y."""
    net, value = Network(seed, opset), "x"
    for block in blocks:
        value = block(net, value)
    net.nodes[-1].output[0] = "y"
    shape = (PLANES, SIDE, SIDE) if square else (WIDTH,)
    graph = helper.make_graph(
        net.nodes, "quantised", [info("x", "N", *shape)], [info("y", "N", *shape)], net.weights
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    data: bytes = helper.make_model(graph, opset_imports=domains, ir_version=10).SerializeToString()
    return data
