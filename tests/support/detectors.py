"""A voice detector and an object detector: models of several inputs and outputs, with requests."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from edge_runtime.tensors import Array
from networks import info, model_of

RANDOM = np.random.default_rng(5)


def weights(**values: Any) -> list[Any]:
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def noise(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


def voice() -> bytes:
    """A voice detector: frames x, a state and a sample rate, of which the layers behind a cut need two."""
    nodes = [
        helper.make_node("MatMul", ["x", "narrow"], ["h"]),
        helper.make_node("Tanh", ["h"], ["g"]),
        helper.make_node("Cast", ["sr"], ["rate"], to=1),
        helper.make_node("Div", ["rate", "khz"], ["scale"]),
        helper.make_node("Mul", ["g", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["state", "kept"], ["before"]),
        helper.make_node("Add", ["before", "scaled"], ["stateN"]),
        helper.make_node("MatMul", ["scaled", "last"], ["output"]),
    ]
    constants = weights(narrow=noise(512, 4), kept=noise(4, 4), last=noise(4, 1), khz=np.float32(16000))
    inputs = [info("x", 1, 512), info("state", 2, 1, 4), info("sr", datatype="INT64")]
    return model_of(nodes, inputs, [info("output", 1, 1), info("stateN", 2, 1, 4)], constants)


def detector() -> bytes:
    """Three outputs of which one, the boxes, is computed long before the others."""
    nodes = [
        helper.make_node("MatMul", ["image", "narrow"], ["features"]),
        helper.make_node("MatMul", ["features", "to_boxes"], ["boxes"]),
        helper.make_node("Tanh", ["features"], ["bent"]),
        helper.make_node("MatMul", ["bent", "deeper"], ["deep"]),
        helper.make_node("Softmax", ["deep"], ["scores"], axis=-1),
        helper.make_node("ArgMax", ["deep"], ["labels"], axis=-1, keepdims=1),
    ]
    constants = weights(narrow=noise(256, 16), to_boxes=noise(16, 4), deeper=noise(16, 6))
    outputs = [info("boxes", "N", 4), info("scores", "N", 6), info("labels", "N", 1, datatype="INT64")]
    return model_of(nodes, [info("image", "N", 256)], outputs, constants)


FEEDS: Mapping[str, Mapping[str, Array]] = {
    "voice": {"x": noise(1, 512), "state": noise(2, 1, 4), "sr": np.array(8000, np.int64)},
    "detector": {"image": noise(3, 256)},
}
MODELS = {"voice": voice, "detector": detector}
