"""Graphs that the runtime's tests cut, serve and measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import pytest
import pytest_socket
from onnx import helper, numpy_helper

from networks import info, model_of

_WITH_SOCKETS = frozenset(
    (
        "serving",
        "cluster",
        "store",
        "standalone",
        "limits",
        "memoization",
        "autonomy",
        "queueing",
        "tls",
        "tracing",
        "outputs",
        "profiling",
        "trials",
        "http",
        "services",
        "sequences",
        "first_requests",
        "node_cache",
    )
)
EXITS = (("exit1", "exit1_logits", 0.81), ("exit2", "exit2_logits", 0.9), ("final", "logits", 0.97))


def _weights(rng: np.random.Generator, name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(rng.normal(scale=0.3, size=shape).astype(np.float32), name)


def _finish(
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto],
    size: int,
    exits: Sequence[tuple[str, str, float]],
    metadata: bool,
) -> bytes:
    listed = [{"name": n, "output": o, "accuracy": a} for n, o, a in exits if metadata]
    outputs = [info(output, "N", 10) for _, output, _ in exits]
    return model_of(nodes, [info("image", "N", 1, size, size)], outputs, weights, listed)


def chain(size: int = 16, metadata: bool = True, channels: int = 4) -> bytes:
    """Three blocks of convolution, activation and pooling, each with an exit: a small BranchyNet."""
    rng = np.random.default_rng(7)
    nodes, weights, before, planes, side = [], [], "image", 1, size
    for depth, (_, output, _) in enumerate(EXITS, 1):
        weights += [
            _weights(rng, f"w{depth}", channels, planes, 3, 3),
            _weights(rng, f"dense{depth}", channels * (side // 2) ** 2, 10),
        ]
        nodes += [
            helper.make_node("Conv", [before, f"w{depth}"], [f"conv{depth}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"conv{depth}"], [f"relu{depth}"]),
            helper.make_node(
                "MaxPool", [f"relu{depth}"], [f"pool{depth}"], kernel_shape=[2, 2], strides=[2, 2]
            ),
            helper.make_node("Flatten", [f"pool{depth}"], [f"flat{depth}"]),
            helper.make_node("MatMul", [f"flat{depth}", f"dense{depth}"], [output]),
        ]
        before, planes, side = f"pool{depth}", channels, side // 2
    return _finish(nodes, weights, size, EXITS, metadata)


def residual(size: int = 8) -> bytes:
    """Two residual blocks and a pooled head: no tensor inside a block separates the graph."""
    rng = np.random.default_rng(11)
    weights = [_weights(rng, "stem_w", 4, 1, 3, 3), _weights(rng, "dense", 4, 10)]
    nodes = [helper.make_node("Conv", ["image", "stem_w"], ["stem"], pads=[1, 1, 1, 1])]
    before = "stem"
    for block in (1, 2):
        weights += [_weights(rng, f"a{block}", 4, 4, 3, 3), _weights(rng, f"b{block}", 4, 4, 3, 3)]
        nodes += [
            helper.make_node("Conv", [before, f"a{block}"], [f"inner{block}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"inner{block}"], [f"bent{block}"]),
            helper.make_node("Conv", [f"bent{block}", f"b{block}"], [f"outer{block}"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", [f"outer{block}", before], [f"sum{block}"]),
        ]
        before = f"sum{block}"
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["logits"]),
    ]
    return _finish(nodes, weights, size, [("final", "logits", 0.9)], True)


@pytest.fixture(scope="session")
def chain_model() -> bytes:
    return chain()


@pytest.fixture(scope="session")
def residual_model() -> bytes:
    return residual()


@pytest.fixture
def images() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A batch of three, [3, 1, 16, 16]."""
    return np.random.default_rng(3).normal(size=(3, 1, 16, 16)).astype(np.float32)


@pytest.fixture(autouse=True)
def _no_network_where_none_is_tested(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only folders that test a transport can open a socket."""
    if request.path.parent.name in _WITH_SOCKETS:
        yield
        return
    pytest_socket.disable_socket()
    try:
        yield
    finally:
        pytest_socket.enable_socket()
