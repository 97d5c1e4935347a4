"""Models that onnxruntime accepts and that crash, hang or fill the memory of their process."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from networks import info, model_of


def harmless(seed: int = 0) -> bytes:
    """x [N, 8] -> y [N, 6], with random weights."""
    shift = np.random.default_rng(seed).normal(size=6).astype(np.float32)
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["left", "right"], axis=1),
        helper.make_node("Add", ["right", "shift"], ["y"]),
    ]
    return _model(nodes, 6, sizes=np.array([2, 6], np.int64), shift=shift)


def large(mib: float = 4.5) -> bytes:
    """x [N, 8] -> y [N, 6] with so many MiB of weights."""
    rng, hidden = np.random.default_rng(0), int(mib * (1 << 20)) // (4 * (8 + 6))
    wide, narrow = rng.normal(size=(8, hidden)), rng.normal(size=(hidden, 6))
    nodes = [
        helper.make_node("MatMul", ["x", "wide"], ["h"]),
        helper.make_node("MatMul", ["h", "narrow"], ["y"]),
    ]
    return _model(nodes, 6, wide=wide.astype(np.float32), narrow=narrow.astype(np.float32))


def crashing(seed: int = 0) -> bytes:
    """Like `harmless`, without the unused output of Split: onnxruntime writes to an invalid address."""
    shift = np.random.default_rng(seed).normal(size=6).astype(np.float32)
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["", "right"], axis=1),
        helper.make_node("Add", ["right", "shift"], ["y"]),
    ]
    return _model(nodes, 6, sizes=np.array([2, 6], np.int64), shift=shift)


def crashing_on_ones() -> bytes:
    """Crashes if a number is greater than a half, otherwise like `harmless`."""

    def branch(name: str, left: str) -> GraphProto:
        nodes = [
            helper.make_node("Split", ["x", "sizes"], [left, f"{name}_right"], axis=1),
            helper.make_node("Neg", [f"{name}_right"], [name]),
        ]
        return helper.make_graph(nodes, name, [], [info(name, "N", 6)])

    branches: dict[str, Any] = {"then_branch": branch("bad", ""), "else_branch": branch("good", "left")}
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "half"], ["which"]),
        helper.make_node("If", ["which"], ["y"], **branches),
    ]
    return _model(nodes, 6, sizes=np.array([2, 6], np.int64), half=np.float32(0.5))


def endless() -> bytes:
    """x [N, 8] -> y [N, 8] by a loop that would take centuries."""
    return looping(1 << 62)


def looping(trips: int) -> bytes:
    """x [N, 8] -> y [N, 8] by a loop."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["a"], ["b"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            info("a", "N", 8),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), info("b", "N", 8)],
    )
    nodes = [helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body)]
    return _model(nodes, 8, trips=np.array(trips, np.int64))


def greedy(gib: int = 1 << 16) -> bytes:
    """x [N, 8] -> y [N, 8] with so many GiB of zeros in between: more than any machine has."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["none"], keepdims=0),
        helper.make_node("Add", ["x", "none"], ["y"]),
    ]
    return _model(nodes, 8, shape=np.array([gib << 28], np.int64))


def _model(nodes: list[NodeProto], columns: int, **constants: Any) -> bytes:
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return model_of(nodes, [info("x", "N", 8)], [info("y", "N", columns)], weights)
