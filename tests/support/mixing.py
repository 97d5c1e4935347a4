"""Random small networks [N, 4, 6] -> [N, 4, 6] of parts that each keep rows separate or mix them.

Their files name the first dimension of all inputs and outputs N in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, numpy_helper

from networks import info, model_of

HEIGHT, WIDTH = 4, 6


@dataclass
class Network:
    """Nodes and constants under construction; `last` is the input of the next part."""

    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)
    last: str = "x"
    count: int = 0

    def name(self) -> str:
        """A name that is not taken."""
        self.count += 1
        return f"t{self.count}"

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Adds a node and returns its first output; the names of others end with their index."""
        name = self.name()
        names = [name, *(f"{name}.{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return name

    def whole(self, *values: int, scalar: bool = False) -> str:
        """A constant of integers."""
        return self.constant(np.array(values[0] if scalar else values, np.int64))

    def constant(self, values: Any) -> str:
        """A constant."""
        name = self.name()
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def noise(self, *shape: int) -> str:
        """A constant of noise."""
        rng = np.random.default_rng(self.count)
        return self.constant(rng.normal(scale=0.4, size=shape).astype(np.float32))

    def flat(self) -> str:
        """A row as one vector: [N, 24]."""
        return self.node("Flatten", self.last, axis=1)

    def built(self, outputs: Sequence[tuple[str, str, Sequence[int | str]]]) -> bytes:
        """The file; each output by its name, its datatype and its shape."""
        described = [info(name, *shape, datatype=datatype) for name, datatype, shape in outputs]
        return model_of(self.nodes, [info("x", "N", HEIGHT, WIDTH)], described, self.weights)


Part = Callable[[Network], str]


def _axis(kind: str, axis: int, **attributes: Any) -> Part:
    return lambda n: n.node(kind, n.last, axis=axis, **attributes)


def _less_reduced(kind: str, axis: int) -> Part:
    def part(n: Network) -> str:
        return n.node("Sub", n.last, n.node(kind, n.last, axes=[axis], keepdims=1))

    return part


def _summed(axis: int) -> Part:
    return lambda n: n.node("CumSum", n.last, n.whole(axis, scalar=True))


def _ordered(axis: int, size: int) -> Part:
    return lambda n: n.node("TopK", n.last, n.whole(size), outputs=2, axis=axis)


def _product(n: Network) -> str:
    return n.node("Tanh", n.node("MatMul", n.last, n.noise(WIDTH, WIDTH)))


def _convolved(n: Network) -> str:
    picture = n.node("Unsqueeze", n.last, n.whole(1))
    made = n.node("Conv", picture, n.noise(1, 1, 3, 3), pads=[1, 1, 1, 1])
    return n.node("Squeeze", made, n.whole(1))


def _layer(n: Network) -> str:
    scale, shift = n.noise(WIDTH), n.noise(WIDTH)
    return n.node("LayerNormalization", n.last, scale, shift, axis=-1)


def _attention(n: Network) -> str:
    turned = n.node("Transpose", n.last, perm=[0, 2, 1])
    shares = n.node("Softmax", n.node("MatMul", n.last, turned), axis=-1)
    return n.node("MatMul", shares, n.last)


def _reshaped_by_shape(n: Network) -> str:
    """As exporters write `x.view(x.size(0), -1)` and back."""
    rows = n.node("Gather", n.node("Shape", n.last), n.whole(0, scalar=True), axis=0)
    ends = [n.node("Unsqueeze", rows, n.whole(0)) for _ in range(2)]
    flat = n.node("Reshape", n.last, n.node("Concat", ends[0], n.whole(-1), axis=0))
    return n.node("Reshape", flat, n.node("Concat", ends[1], n.whole(HEIGHT, WIDTH), axis=0))


def _reshaped_and_back(n: Network) -> str:
    return n.node("Reshape", n.node("Reshape", n.last, n.whole(-1)), n.whole(-1, HEIGHT, WIDTH))


def _beside_each_other(n: Network) -> str:
    """[N, 4, 6] to [4, N·2, 3] and back, like attention with several heads."""
    turned = n.node("Transpose", n.last, perm=[1, 0, 2])
    heads = n.node("Reshape", turned, n.whole(HEIGHT, -1, WIDTH // 2))
    bent = n.node("Softmax", heads, axis=-1)
    return n.node("Transpose", n.node("Reshape", bent, n.whole(HEIGHT, -1, WIDTH)), perm=[1, 0, 2])


def _with_a_token(n: Network) -> str:
    """Adds a line to each row, the same for all, and removes it again."""
    rows = n.node("Slice", n.node("Shape", n.last), n.whole(0), n.whole(1))
    token = n.node("Expand", n.noise(1, 1, WIDTH), n.node("Concat", rows, n.whole(1, WIDTH), axis=0))
    longer = n.node("CumSum", n.node("Concat", token, n.last, axis=1), n.whole(1, scalar=True))
    return n.node("Slice", longer, n.whole(1), n.whole(HEIGHT + 1), n.whole(1))


def _expanded_as_written(n: Network) -> str:
    """`token.expand(n, -1, -1)` as exporters write it: sizes of -1 are replaced in the graph."""
    rows = n.node("Gather", n.node("Shape", n.last), n.whole(0), axis=0)
    wanted = n.node("Concat", rows, n.whole(-1, -1), axis=0)
    ones = n.node(
        "ConstantOfShape", n.node("Shape", wanted), value=helper.make_tensor("v", TensorProto.INT64, [1], [1])
    )
    kept = n.node("Equal", wanted, n.node("Mul", ones, n.whole(-1, scalar=True)))
    token = n.node("Expand", n.noise(1, HEIGHT, WIDTH), n.node("Where", kept, ones, wanted))
    return n.node("Add", n.last, token)


def _heads_by_number(n: Network) -> str:
    """[N, 4, 6] to [4, N * 2, 3] and back, by computed sizes."""
    rows = n.node("Gather", n.node("Shape", n.last), n.whole(0, scalar=True), axis=0)
    heads = n.node("Unsqueeze", n.node("Mul", rows, n.whole(2, scalar=True)), n.whole(0))
    turned = n.node("Transpose", n.last, perm=[1, 0, 2])
    shape = n.node("Concat", n.whole(HEIGHT), heads, n.whole(WIDTH // 2), axis=0)
    beside = n.node("Transpose", n.node("Reshape", turned, shape), perm=[1, 0, 2])
    scores = n.node("MatMul", beside, n.node("Transpose", beside, perm=[0, 2, 1]))
    mixed = n.node("MatMul", n.node("Softmax", scores, axis=-1), beside)
    whole = n.node("Concat", n.whole(HEIGHT), n.node("Unsqueeze", rows, n.whole(0)), n.whole(WIDTH), axis=0)
    back = n.node("Reshape", n.node("Transpose", mixed, perm=[1, 0, 2]), whole)
    return n.node("Transpose", back, perm=[1, 0, 2])


def _group_norm(n: Network) -> str:
    shape = n.node("Shape", n.last)
    grouped = n.node("Reshape", n.last, n.whole(0, 2, -1))
    normal = n.node("InstanceNormalization", grouped, n.noise(2), n.noise(2))
    return n.node("Reshape", normal, shape)


def _windows(n: Network) -> str:
    """Each row in windows of 2 x 3, which are temporarily items."""
    parted = n.node("Reshape", n.last, n.whole(-1, 2, 2, 2, 3))
    windows = n.node("Reshape", n.node("Transpose", parted, perm=[0, 1, 3, 2, 4]), n.whole(-1, 6))
    bent = n.node("Softmax", windows, axis=-1)
    back = n.node("Transpose", n.node("Reshape", bent, n.whole(-1, 2, 2, 2, 3)), perm=[0, 1, 3, 2, 4])
    return n.node("Reshape", back, n.whole(-1, HEIGHT, WIDTH))


def _masked(n: Network) -> str:
    """Values that the mask excludes are far below the others."""
    lower = n.node("Less", n.last, n.constant(np.array(-0.5, np.float32)))
    off = n.node("Mul", n.node("Cast", lower, to=TensorProto.FLOAT), n.constant(np.array(-1e4, np.float32)))
    return n.node("Softmax", n.node("Add", n.last, off), axis=-1)


def _quantised(n: Network) -> str:
    scale, zero = n.constant(np.array(0.05, np.float32)), n.constant(np.array(128, np.uint8))
    return n.node("DequantizeLinear", n.node("QuantizeLinear", n.last, scale, zero), scale, zero)


def _recurrent(n: Network) -> str:
    turned = n.node("Transpose", n.last, perm=[1, 0, 2])
    made = n.node(
        "GRU",
        turned,
        n.noise(1, 3 * WIDTH, WIDTH),
        n.noise(1, 3 * WIDTH, WIDTH),
        outputs=2,
        hidden_size=WIDTH,
    )
    return n.node("Transpose", n.node("Squeeze", made, n.whole(1)), perm=[1, 0, 2])


def _embedded(n: Network) -> str:
    best = n.node("ArgMax", n.last, axis=2, keepdims=0)
    return n.node("Gather", n.noise(WIDTH, WIDTH), best, axis=0)


def _branched(n: Network) -> str:
    positive = n.node("Greater", n.last, n.constant(np.array(0.1, np.float32)))
    return n.node("Where", positive, n.last, n.node("Neg", n.last))


def _turned_lines(n: Network) -> str:
    return n.node("Gather", n.last, n.whole(3, 1, 0, 2), axis=1)


KEEPING: dict[str, Part] = {
    "product": _product,
    "convolution": _convolved,
    "layer norm": _layer,
    "attention in a row": _attention,
    "reshape by shape": _reshaped_by_shape,
    "reshape to -1 and back": _reshaped_and_back,
    "heads": _beside_each_other,
    "token": _with_a_token,
    "expanded token": _expanded_as_written,
    "heads by number": _heads_by_number,
    "group norm": _group_norm,
    "windows": _windows,
    "mask": _masked,
    "constant scales": _quantised,
    "recurrent": _recurrent,
    "embedding": _embedded,
    "branches": _branched,
    "lines in another order": _turned_lines,
    "softmax over 2": _axis("Softmax", 2),
    "softmax over 1": _axis("Softmax", 1),
    "running sum over 1": _summed(1),
    "best over 2": _ordered(2, WIDTH),
    "less the most over 1": _less_reduced("ReduceMax", 1),
}


def _products_of_rows(n: Network) -> str:
    flat = n.flat()
    products = n.node("MatMul", flat, n.node("Transpose", flat, perm=[1, 0]))
    shares = n.node("Softmax", n.node("Mul", products, n.constant(np.array(0.05, np.float32))), axis=-1)
    mixed = n.node("MatMul", shares, flat)
    return n.node("Reshape", mixed, n.whole(-1, HEIGHT, WIDTH))


def _dynamically_quantised(n: Network) -> str:
    made = n.node("DynamicQuantizeLinear", n.last, outputs=3)
    return n.node("DequantizeLinear", made, f"{made}.1", f"{made}.2")


def _first_row(n: Network) -> str:
    return n.node("Sub", n.last, n.node("Gather", n.last, n.whole(0), axis=0))


def _last_row(n: Network) -> str:
    return n.node("Sub", n.last, n.node("Slice", n.last, n.whole(-1), n.whole(2**31), n.whole(0)))


def _drawn(n: Network) -> str:
    return n.node("Add", n.last, n.node("RandomNormalLike", n.last))


def _looped(n: Network) -> str:
    """Adds twice the mean over all rows."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["go"]),
            helper.make_node("ReduceMean", ["before"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Add", ["before", "mean"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            info("before", "N", HEIGHT, WIDTH),
        ],
        [helper.make_tensor_value_info("go", TensorProto.BOOL, []), info("after", "N", HEIGHT, WIDTH)],
    )
    return n.node("Loop", n.whole(2, scalar=True), n.constant(np.array(True)), n.last, body=body)


def _mean_of_all(n: Network) -> str:
    return n.node("Sub", n.last, n.node("ReduceMean", n.last, keepdims=0))


def _how_many(n: Network) -> str:
    rows = n.node("Gather", n.node("Shape", n.last), n.whole(0, scalar=True), axis=0)
    return n.node("Div", n.last, n.node("Cast", rows, to=TensorProto.FLOAT))


def _regrouped(n: Network) -> str:
    """Reshapes as if lines of all rows were images: values of a row move to other rows."""
    return n.node("Reshape", n.node("Transpose", n.last, perm=[1, 0, 2]), n.whole(-1, HEIGHT, WIDTH))


def _hit(n: Network) -> str:
    total = n.node("ReduceSum", n.flat(), n.whole(1), keepdims=0)
    return n.node("Greater", total, n.constant(np.array(0.0, np.float32)))


def _found(n: Network) -> str:
    """Rows with a positive sum; others get a row of zeros."""
    zeros = n.constant(np.zeros((1, HEIGHT, WIDTH), np.float32))
    return n.node("Concat", zeros, n.node("Compress", n.last, _hit(n), axis=0), axis=0)


def _distinct(n: Network) -> str:
    return n.node("Unique", n.last, axis=0)


def _not_zero(n: Network) -> str:
    places = n.node("Transpose", n.node("NonZero", n.node("Relu", n.last)), perm=[1, 0])
    padded = n.node("Pad", n.node("Cast", places, to=TensorProto.FLOAT), n.whole(0, 0, 0, HEIGHT * WIDTH - 3))
    return n.node("Reshape", padded, n.whole(-1, HEIGHT, WIDTH))


def _suppressed(n: Network) -> str:
    boxes = n.node("Slice", n.last, n.whole(0), n.whole(4), n.whole(2))
    scores = n.node("Transpose", n.node("Slice", n.last, n.whole(4), n.whole(5), n.whole(2)), perm=[0, 2, 1])
    found = n.node("NonMaxSuppression", boxes, scores, n.whole(3, scalar=True))
    padded = n.node("Pad", n.node("Cast", found, to=TensorProto.FLOAT), n.whole(0, 0, 0, HEIGHT * WIDTH - 3))
    return n.node("Reshape", padded, n.whole(-1, HEIGHT, WIDTH))


MIXING: dict[str, Part] = {
    "products of rows": _products_of_rows,
    "dynamic scales": _dynamically_quantised,
    "the first row": _first_row,
    "the last row": _last_row,
    "noise": _drawn,
    "loop": _looped,
    "mean of all": _mean_of_all,
    "how many": _how_many,
    "regrouped": _regrouped,
    "found": _found,
    "distinct": _distinct,
    "not zero": _not_zero,
    "suppressed": _suppressed,
    "softmax over 0": _axis("Softmax", 0),
    "running sum over 0": _summed(0),
    "best over 0": _ordered(0, 1),
    "less the most over 0": _less_reduced("ReduceMax", 0),
}


ROUNDING = frozenset(
    [
        *("product", "convolution", "layer norm", "attention in a row", "heads", "heads by number", "mask"),
        *("recurrent", "softmax over 1", "softmax over 2", "group norm", "windows"),
    ]
)
"""Parts with sums or functions whose last bit can depend on the batch in onnxruntime."""


def network(parts: Sequence[str], numbered: bool = False) -> bytes:
    """The parts in sequence; `numbered`: with another output, the argmax of each line."""
    made = Network()
    for part in parts:
        made.last = (KEEPING | MIXING)[part](made)
    outputs: list[tuple[str, str, Sequence[int | str]]] = [(made.last, "FP32", ("N", HEIGHT, WIDTH))]
    if numbered:
        outputs.append((made.node("ArgMax", made.last, axis=2, keepdims=0), "INT64", ("N", HEIGHT)))
    return made.built(outputs)


@st.composite
def kept(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Networks of parts that all keep rows separate; some have an output of integers."""
    exact = draw(st.booleans())
    known = sorted(KEEPING.keys() - ROUNDING if exact else KEEPING)
    parts = draw(st.lists(st.sampled_from(known), min_size=1, max_size=5))
    return parts, network(parts, numbered=exact)


@st.composite
def mixed(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Networks with at least one part that mixes rows."""
    parts = draw(st.lists(st.sampled_from(sorted(KEEPING)), max_size=3))
    for _ in range(draw(st.integers(1, 2))):
        parts.insert(draw(st.integers(0, len(parts))), draw(st.sampled_from(sorted(MIXING))))
    return parts, network(parts, draw(st.booleans()))
