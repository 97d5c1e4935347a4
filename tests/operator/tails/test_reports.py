"""Telemetry of a tail in Triton's python backend is off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

import edge_operator.tritons.tails

LOAD = "import model; m = model.TritonPythonModel(); m.initialize({})"


def test_a_tail_sends_no_telemetry(tmp_path: Path) -> None:
    """By default onnxruntime reports the loaded models to its vendor, through a file in the home folder."""
    folder, home = tmp_path / "model", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    source = Path(edge_operator.tritons.tails.__path__[0]) / "model.py"
    (folder / "model.py").write_bytes(source.read_bytes())
    (folder / "triton_python_backend_utils.py").touch()
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tail", [x], [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, folder / "model.onnx")
    reported = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
    kept = {name: value for name, value in os.environ.items() if name not in reported}
    found = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run([sys.executable, "-c", LOAD], cwd=folder, env=kept | found, timeout=60, check=True)
    assert list(home.iterdir()) == []
