"""Quantized networks in their forms, and numbers of other widths than 32 bits."""

from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from benchmarks.models.inputs import Array, InputValues
from benchmarks.models.made.networks import MadeModel, integers, noise

_RNG: Final = np.random.default_rng(23)


def _bytes(*shape: int) -> Array:
    return _RNG.integers(-90, 90, shape).astype(np.int8)


def _float(value: float) -> Array:
    return np.array(value, np.float32)


_SCALES: Final[dict[str, Array]] = {
    "sx": _float(0.02),
    "zx": np.array(128, np.uint8),
    "sh": _float(0.05),
    "zh": np.array(110, np.uint8),
    "sw": _float(0.01),
    "zw": np.array(0, np.int8),
}


def _four_bits(model: ModelProto) -> None:
    values = np.random.default_rng(29).integers(-7, 8, 64)
    packed = onnx.helper.make_tensor("w4", TensorProto.INT4, [16, 4], [int(v) for v in values])
    model.graph.initializer.append(packed)


NUMBER_FORMATS: Final = (
    MadeModel(
        "qdq",
        "quantized, QDQ",
        """classifier (float[N, 3, 16, 16] image) => (float[N, 5] y)
        {
            iq = QuantizeLinear (image, sx, zx)
            id = DequantizeLinear (iq, sx, zx)
            w = DequantizeLinear <axis = 0> (w8, swc, zwc)
            c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (id, w)
            r = Relu (c)
            rq = QuantizeLinear (r, sh, zh)
            rd = DequantizeLinear (rq, sh, zh)
            p = GlobalAveragePool (rd)
            pq = QuantizeLinear (p, sh, zh)
            pd = DequantizeLinear (pq, sh, zh)
            f = Flatten (pd)
            v = DequantizeLinear (v8, sw, zw)
            y = MatMul (f, v)
        }""",
        {"image": noise(1, 3, 16, 16, other=(3, 3, 16, 16))},
        {
            **_SCALES,
            "w8": _bytes(8, 3, 3, 3),
            "swc": np.linspace(0.004, 0.02, 8, dtype=np.float32),
            "zwc": np.zeros(8, np.int8),
            "v8": _bytes(8, 5),
        },
    ),
    MadeModel(
        "qoperator",
        "quantized, QOperator",
        """classifier (float[N, 3, 16, 16] image) => (float[N, 5] y)
        {
            iq = QuantizeLinear (image, sx, zx)
            cq = QLinearConv <pads = [1, 1, 1, 1], strides = [2, 2]> (iq, sx, zx, w8, sw, zw, sh, zh)
            mq = MaxPool <kernel_shape = [8, 8]> (cq)
            fq = Flatten (mq)
            yq = QLinearMatMul (fq, sh, zh, v8, sw, zw, sh, zh)
            y = DequantizeLinear (yq, sh, zh)
        }""",
        {"image": noise(1, 3, 16, 16, other=(3, 3, 16, 16))},
        {**_SCALES, "w8": _bytes(8, 3, 3, 3), "v8": _bytes(8, 5)},
    ),
    MadeModel(
        "dynamically-quantized",
        "quantized, as it runs",
        """classifier (float[N, 16] x) => (float[N, 5] y)
        {
            h = Tanh (x)
            q, s, z = DynamicQuantizeLinear (h)
            i = MatMulInteger (q, v8, z)
            f = Cast <to = 1> (i)
            d = Mul (s, sw)
            g = Mul (f, d)
            r = Relu (g)
            y = MatMul (r, w)
        }""",
        {"x": noise(1, 16, other=(3, 16))},
        {"v8": _bytes(16, 8), "sw": _float(0.01), "w": (8, 5)},
    ),
    MadeModel(
        "four-bit-weights",
        "quantized, 4 bits",
        """classifier (float[N, 16] x) => (float[N, 4] y)
        {
            h = Tanh (x)
            w = DequantizeLinear (w4, sw)
            y = MatMul (h, w)
        }""",
        {"x": noise(1, 16, other=(3, 16))},
        {"sw": _float(0.1)},
        opset=21,
        change=_four_bits,
    ),
    MadeModel(
        "bfloat16-inside",
        "bfloat16",
        """rounded (float[N, 16] x) => (float[N, 4] y)
        {
            h = MatMul (x, w1)
            b = Cast <to = 16> (h)
            i = Identity (b)
            f = Cast <to = 1> (i)
            r = Relu (f)
            y = MatMul (r, w2)
        }""",
        {"x": noise(1, 16, other=(3, 16))},
        {"w1": (16, 16), "w2": (16, 4)},
    ),
    MadeModel(
        "half-precision",
        "float16",
        """halves (float16[N, 16] x) => (float16[N, 4] y)
        {
            h = Tanh (x)
            w = Cast <to = 10> (w1)
            g = MatMul (h, w)
            y = Sigmoid (g)
        }""",
        {"x": noise(1, 16, other=(3, 16))},
        {"w1": (16, 4)},
    ),
    MadeModel(
        "double-precision",
        "float64",
        """doubles (double[N, 16] x) => (double[N, 4] y)
        {
            w = Cast <to = 11> (w1)
            h = MatMul (x, w)
            y = Tanh (h)
        }""",
        {"x": noise(1, 16, other=(3, 16))},
        {"w1": (16, 4)},
    ),
    MadeModel(
        "camera-bytes",
        "uint8 images, int64 classes",
        """camera (uint8[N, H, W, 3] image) => (int64[N] best, float[N, 6] scores)
        {
            f = Cast <to = 1> (image)
            s = Mul (f, inverse)
            t = Transpose <perm = [0, 3, 1, 2]> (s)
            c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (t, w1)
            r = Relu (c)
            p = GlobalAveragePool (r)
            v = Flatten (p)
            scores = MatMul (v, w2)
            best = ArgMax <axis = 1, keepdims = 0> (scores)
        }""",
        {"image": integers(1, 48, 64, 3, below=256, other=(2, 32, 32, 3))},
        {"inverse": _float(1 / 255), "w1": (8, 3, 3, 3), "w2": (8, 6)},
    ),
    MadeModel(
        "texts",
        "strings",
        """labels (string[N, 1] text, float[N, 4] x) => (string[N, 1] same, bool[N, 1] known, float[N, 2] y)
        {
            same = StringConcat (text, suffix)
            known = Equal (text, word)
            y = MatMul (x, w)
        }""",
        {
            "text": InputValues((1, 1), (3, 1), words=("yes", "größer", "")),
            "x": noise(1, 4, other=(3, 4)),
        },
        {"w": (4, 2), "suffix": np.array(["!"], object), "word": np.array(["yes"], object)},
        opset=20,
    ),
)
