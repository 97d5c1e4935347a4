"""A model with two exits and a real model store, for tests of both distributions."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from onnx import helper, numpy_helper

from networks import info, model_of
from waiting import responds, until


def two_exits() -> bytes:
    """image -> hidden -> (early_logits | deep -> logits): the smallest choice of exit and cut."""
    random = np.random.default_rng(7)
    weights = {
        name: numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in {"w1": (8, 6), "w2": (6, 3), "w3": (6, 6), "w4": (6, 3)}.items()
    }
    nodes = [
        helper.make_node("MatMul", ["image", "w1"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "w2"], ["early_logits"]),
        helper.make_node("MatMul", ["hidden", "w3"], ["deep"]),
        helper.make_node("MatMul", ["deep", "w4"], ["logits"]),
    ]
    exits = [
        {"name": "early", "output": "early_logits", "accuracy": 0.8},
        {"name": "final", "output": "logits", "accuracy": 0.95},
    ]
    outputs = [info(n, "N", 3) for n in ("early_logits", "logits")]
    return model_of(nodes, [info("image", "N", 8)], outputs, list(weights.values()), exits)


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A model store in a separate process, started as in the chart."""
    root: Path = tmp_path_factory.mktemp("store")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "edge_runtime.cli", "store", "--root", str(root)]
    with subprocess.Popen([*argv, "--host", "127.0.0.1", "--port", str(port)]) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: responds(f"{url}/v1/health/ready"), "the store listens")
            httpx.put(f"{url}/v1/files/two/exits.onnx", content=two_exits()).raise_for_status()
            yield url
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def model() -> bytes:
    """The bytes of the model that the store holds as two/exits.onnx."""
    return two_exits()
