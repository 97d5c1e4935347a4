"""The same network in every opset from 9 to 23."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from benchmarks.models.inputs import Array
from benchmarks.models.made.networks import MadeModel, noise

_BODY: Final = """classifier (float[N, 3, 32, 32] image) => (float[N, 10] y)
{
    c1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (image, w1)
    r1 = Relu (c1)
    p1 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r1)
    c2 = Conv <pads = [1, 1, 1, 1]> (p1, w2)
    a2 = Add (c2, p1)
    r2 = Relu (a2)
    p2 = GlobalAveragePool (r2)
    f = Flatten (p2)
    l = Gemm (f, w3, b3)
    y = Softmax <axis = 1> (l)
}"""
_WEIGHTS: Final[Mapping[str, Sequence[int] | Array]] = {
    "w1": (8, 3, 3, 3),
    "w2": (8, 8, 3, 3),
    "w3": (8, 10),
    "b3": np.zeros(10, np.float32),
}

OPSETS: Final = tuple(
    MadeModel(
        f"opset-{opset}",
        "opsets",
        _BODY,
        {"image": noise(1, 3, 32, 32, other=(3, 3, 32, 32))},
        _WEIGHTS,
        opset=opset,
    )
    for opset in range(9, 24)
)
