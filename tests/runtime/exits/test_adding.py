"""Exits that are added to a file by hand, and the list of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_runtime.errors import BadRequest, EdgeError, NotFound, NotOnnx, StorageError, UnknownTensor
from edge_runtime.exits.adding import with_exit
from edge_runtime.exits.files import documents, new_name, read, write
from messages import mentions
from networks import run

COMMAND = [sys.executable, "-m", "edge_runtime.cli", "exits"]


def test_an_inner_tensor_becomes_an_exit_before_the_full_model(model: Path) -> None:
    file = read(model)
    changed, exits = with_exit(file, ["scores"], 0.8, name="early", final_accuracy=0.9)
    assert documents(exits) == [
        {"name": "early", "output": "scores", "accuracy": 0.8},
        {"name": "final", "output": "probabilities", "accuracy": 0.9},
    ]
    write(file, changed, model)
    assert read(model).exits == exits
    outputs = run(model.read_bytes(), {"image": np.ones((3, 1, 8, 8), np.float32)})
    assert outputs["scores"].shape == (3, 10)
    onnx.checker.check_model(onnx.load(model))


def test_the_full_model_alone_needs_no_other_accuracy(model: Path) -> None:
    _, exits = with_exit(read(model), ["probabilities"], 0.9)
    assert documents(exits) == [{"name": "final", "output": "probabilities", "accuracy": 0.9}]


def test_an_exit_of_the_same_name_is_replaced_and_the_order_is_that_of_depth(model: Path) -> None:
    file = read(model)
    changed, _ = with_exit(file, ["scores"], 0.8, name="early", final_accuracy=0.9)
    write(file, changed, model)
    again, exits = with_exit(read(model), ["scores"], 0.85, name="early")
    assert [(each.name, each.accuracy) for each in exits] == [("early", 0.85), ("final", 0.9)]
    assert [value.name for value in again.graph.output] == ["probabilities", "scores"]
    _, exits = with_exit(read(model), ["flat", "pool"], 0.5, name="features", own_names=True)
    assert [each.name for each in exits] == ["features", "early", "final"]
    assert documents(exits)[0]["responseNames"] == "Own"


@pytest.mark.parametrize(
    ("outputs", "accuracy", "more", "kind", "parts"),
    [
        (["nowhere"], 0.5, {}, UnknownTensor, ("--output", '"nowhere"')),
        (["image"], 0.5, {}, UnknownTensor, ("--output", '"image"', "input")),
        (["scores"], 0.5, {}, BadRequest, ("--final-accuracy", "missing", "probabilities")),
        (["scores"], 1.5, {}, BadRequest, ("--accuracy", "1.5", "0.93")),
        (["scores"], float("nan"), {}, BadRequest, ("--accuracy", "nan")),
        (["scores"], 0.5, {"final_accuracy": -1.0}, BadRequest, ("--final-accuracy", "-1")),
        (["pool"], 0.5, {"final_accuracy": 0.9}, BadRequest, ("--output", "pool is FP32", "exits train")),
        (["flat", "pool"], 0.5, {"final_accuracy": 0.9}, BadRequest, ("outputs", "responseNames: Own")),
    ],
)
def test_what_cannot_be_an_exit_is_refused(
    model: Path,
    outputs: list[str],
    accuracy: float,
    more: dict[str, float],
    kind: type[EdgeError],
    parts: tuple[str, ...],
) -> None:
    with pytest.raises(kind, match=mentions(*parts)):
        with_exit(read(model), outputs, accuracy, name=None, own_names=False, **more)


def test_external_data_stay_where_they_are(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "external.onnx"
    onnx.save(onnx.load(model), path, save_as_external_data=True, location="weights.bin", size_threshold=64)
    file = read(path)
    changed, _ = with_exit(file, ["scores"], 0.8, name="early", final_accuracy=0.9)
    write(file, changed, path)
    assert path.stat().st_size < (tmp_path / "weights.bin").stat().st_size
    assert [each.name for each in read(path).exits] == ["early", "final"]
    (tmp_path / "other").mkdir()
    with pytest.raises(BadRequest, match=mentions("external data", "-o")):
        write(file, changed, tmp_path / "other" / "model.onnx")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(NotFound, match=mentions("external.onnx", "external data")):
        read(path)


def test_files_that_are_not_models_or_list_nonsense_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=mentions("none.onnx", "no such file")):
        read(tmp_path / "none.onnx")
    with pytest.raises(StorageError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(NotOnnx):
        read(tmp_path / "text.onnx")
    changed = onnx.load(model)
    changed.metadata_props.add(key="edge.exits", value='[{"name": "x", "output": "nowhere"}]')
    path = tmp_path / "nonsense.onnx"
    path.write_bytes(changed.SerializeToString())
    with pytest.raises(BadRequest, match=mentions("nonsense.onnx", "edge.exits", "nowhere")):
        read(path)


def test_names_of_exits_are_made_of_tensor_names() -> None:
    assert new_name("/block.1/Relu_output_0", []) == "_block.1_Relu_output_0"
    assert new_name("exit1", ["exit1", "exit1_2"]) == "exit1_3"


def test_the_commands_list_and_add(model: Path) -> None:
    def said(*arguments: str) -> str:
        return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=True).stdout

    assert "no exits listed" in said("ls", str(model))
    flags = ["--output", "scores", "--accuracy", "0.8", "--final-accuracy", "0.9", "--name", "early"]
    assert "early" in said("add", str(model), *flags)
    listed = json.loads(said("ls", str(model), "--format", "json"))
    assert [each["name"] for each in listed] == ["early", "final"]
    failed = subprocess.run(
        [*COMMAND, "add", str(model), "--output", "nowhere", "--accuracy", "0.8"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith("UnknownTensor: --output: ")
