"""Measures memory saved by sharing weights of sessions: `.venv/bin/python -m benchmarks.runtime.sharing`.

Loads the slices of a route table (several heads and the full model) in a process of its own for each method,
and prints the process's resident memory minus that of onnxruntime without a model. Prints one JSON object.

alone: every session has its own weights. shared: each weight is one array outside the sessions
(add_initializer). plain: as alone, without packed copies and special layouts of the weights. shared_plain:
both. onnxruntime's PrepackedWeightsContainer, which would share the packed copies, is not in its Python
interface. Also prints milliseconds of a run of the largest slice.
"""

from __future__ import annotations

import ctypes
import gc
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from benchmarks.runtime.commands import reported
from edge_runtime.slicing import Graph

WAYS = ("none", "alone", "shared", "plain", "shared_plain")
_LAYERS, _WIDTH = 8, 512


def model(kind: str) -> bytes:
    """Eight layers with weights of about 75 MB (conv) or 8 MB (dense), the same noise each time."""
    rng = np.random.default_rng(1)
    nodes, weights, before = [], [], "x"
    shape = (_WIDTH, _WIDTH, 3, 3) if kind == "conv" else (_WIDTH, _WIDTH)
    for i in range(_LAYERS):
        values = rng.normal(scale=0.01, size=shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{i}"))
        inputs, after = [before, f"w{i}"], f"t{i}"
        nodes.append(
            helper.make_node("Conv", inputs, [after], pads=[1, 1, 1, 1])
            if kind == "conv"
            else helper.make_node("MatMul", inputs, [after])
        )
        nodes.append(helper.make_node("Relu", [after], [f"r{i}"]))
        before = f"r{i}"
    size = [1, _WIDTH, 7, 7] if kind == "conv" else [1, _WIDTH]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, size) for n in ("x", before))
    graph = helper.make_graph(nodes, kind, [x], [y], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = made.SerializeToString()
    return data


def measure(folder: Path) -> dict[str, object]:
    """By kind of layer `slices_mb`; by method, each in its own process, `resident_mb` and `run_ms`."""
    result: dict[str, object] = {}
    for kind in ("conv", "dense"):
        graph = Graph(model(kind))
        slices = folder / kind
        slices.mkdir()
        for i, last in enumerate((1, 3, 5, 7)):
            (slices / f"{i}.onnx").write_bytes(graph.slice(["x"], [f"r{last}"]))
        sizes = [path.stat().st_size / 1e6 for path in sorted(slices.glob("*.onnx"))]
        resident = {way: _measured(slices, way) for way in WAYS}
        over = {way: round(resident[way][0] - resident["none"][0], 1) for way in WAYS[1:]}
        result[kind] = {
            "slices_mb": [round(size, 1) for size in sizes],
            "resident_mb": over,
            "run_ms": {way: resident[way][1] for way in WAYS[1:]},
        }
    return result


def _measured(folder: Path, way: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.runtime.sharing", str(folder), way]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return float(said[0]), float(said[1])


def _resident(folder: Path, way: str) -> tuple[float, float]:
    """Megabytes resident with the folder's models loaded and run, and milliseconds of a run of the last."""
    arrays: dict[str, Any] = {}
    sessions = (
        [] if way == "none" else [_session(path, way, arrays) for path in sorted(folder.glob("*.onnx"))]
    )
    taken = [0.0]
    for session in sessions:
        first = session.get_inputs()[0]
        feeds = {first.name: np.zeros(first.shape, np.float32)}
        taken = [_seconds(session, feeds) for _ in range(15)]
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1e3, round(statistics.median(taken) * 1e3, 2)


def _session(path: Path, way: str, arrays: dict[str, Any]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if "plain" in way:
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    if "shared" in way:
        for name, values in _weights(path).items():
            if name not in arrays:
                arrays[name] = ort.OrtValue.ortvalue_from_numpy(values)
            options.add_initializer(name, arrays[name])
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _seconds(session: ort.InferenceSession, feeds: dict[str, Any]) -> float:
    start = time.perf_counter()
    session.run(None, feeds)
    return time.perf_counter() - start


def _weights(path: Path) -> dict[str, Any]:
    return {i.name: numpy_helper.to_array(i) for i in onnx.load_model(path).graph.initializer}


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(_resident(Path(sys.argv[1]), sys.argv[2])))
    else:
        sys.exit(reported("sharing", measure))
