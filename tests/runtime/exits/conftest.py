"""A plain classifier of scikit-learn's digits, as an export without exits, and labeled samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

from edge_runtime.tensors import Array
from networks import info, model_of, run

CHANNELS = (8, 16, 32, 32)
FEATURES = CHANNELS[-1] * 16


@pytest.fixture(scope="session")
def digits() -> tuple[Array, Array]:
    """Images [1797, 1, 8, 8] from 0 to 1, and their digits."""
    found = load_digits()
    images: Array = (found.images[:, None] / 16).astype(np.float32)
    return images, found.target


def _backbone() -> tuple[list[NodeProto], list[TensorProto]]:
    """Four convolutions with weights by chance, a pool between, and a mean over positions."""
    rng = np.random.default_rng(5)
    nodes, weights, before, channels = [], [], "image", 1
    for number, wide in enumerate(CHANNELS, start=1):
        scale = np.sqrt(2 / (channels * 9))
        values = rng.normal(0, scale, (wide, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
        nodes += [
            helper.make_node("Conv", [before, f"w{number}"], [f"conv{number}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"conv{number}"], [f"relu{number}"]),
        ]
        before, channels = f"relu{number}", wide
        if number == 2:
            nodes.append(helper.make_node("MaxPool", [before], ["pool"], kernel_shape=[2, 2], strides=[2, 2]))
            before = "pool"
    nodes.append(helper.make_node("Flatten", [before], ["flat"]))
    return nodes, weights


@pytest.fixture(scope="session")
def classifier(digits: tuple[Array, Array]) -> bytes:
    """Its last layer is fitted to the first half of the digits; it gives probabilities."""
    return _classifier(digits, [helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1)])


@pytest.fixture(scope="session")
def scorer(digits: tuple[Array, Array]) -> bytes:
    """The same, giving scores."""
    return _classifier(digits, [helper.make_node("Identity", ["scores"], ["probabilities"])])


def _classifier(digits: tuple[Array, Array], last: Sequence[NodeProto]) -> bytes:
    images, labels = digits
    nodes, weights = _backbone()
    features = model_of(nodes, [info("image", "N", 1, 8, 8)], [info("flat", "N", FEATURES)], weights)
    found = run(features, {"image": images[:900]})["flat"]
    wanted = np.eye(10)[labels[:900]]
    fitted = np.linalg.solve(found.T @ found + np.eye(FEATURES), found.T @ wanted)
    weights = [
        *weights,
        numpy_helper.from_array(fitted.astype(np.float32), "w"),
    ]
    nodes = [*nodes, helper.make_node("MatMul", ["flat", "w"], ["scores"]), *last]
    return model_of(nodes, [info("image", "N", 1, 8, 8)], [info("probabilities", "N", 10)], weights)


@pytest.fixture
def model(classifier: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    path.write_bytes(classifier)
    return path


@pytest.fixture
def samples(digits: tuple[Array, Array], tmp_path: Path) -> Path:
    """Those that the classifier was not fitted to."""
    path = tmp_path / "samples.npz"
    arrays: dict[str, Any] = {"inputs": digits[0][900:], "labels": digits[1][900:]}
    np.savez(path, **arrays)
    return path
