"""A model that refuses generated inputs: those of a request belong together."""

import numpy as np
from onnx import helper, numpy_helper

from networks import info, model_of

PAIR = {"first": np.array([[3, 4]]), "second": np.array([[4, 3]])}
"""Ids whose difference is the index of the table."""


def paired(width: int = 8) -> bytes:
    """Looks up, in a table of two rows, (first - second) + 1 / 2: equal ids and zeros end outside of it."""
    random = np.random.default_rng(3)
    weights = {
        "table": random.normal(size=(2, width)).astype(np.float32),
        "w1": random.normal(size=(width, width)).astype(np.float32),
        "w2": random.normal(size=(2 * width, 4)).astype(np.float32),
        "one": np.array(1),
        "two": np.array(2),
    }
    nodes = [
        helper.make_node("Sub", ["first", "second"], ["difference"]),
        helper.make_node("Add", ["difference", "one"], ["shifted"]),
        helper.make_node("Mod", ["shifted", "two"], ["odd"]),
        helper.make_node("Mul", ["odd", "two"], ["beyond"]),
        helper.make_node("Gather", ["table", "beyond"], ["found"]),
        helper.make_node("MatMul", ["found", "w1"], ["mixed"]),
        helper.make_node("Flatten", ["mixed"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w2"], ["scores"]),
    ]
    inputs = [info(name, "N", 2, datatype="INT64") for name in ("first", "second")]
    initial = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    return model_of(nodes, inputs, [info("scores", "N", 4)], initial)
