"""Heads that are trained on a plain classifier, and the file that has them as exits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_planning import EntryProblem, Plan, Slo, plan_entry
from edge_planning.costs.profiles import ClassProfile, Timing
from edge_planning.graphs.onnx_reading import read_model
from edge_runtime.errors import BadRequest, NotFound, UnknownTensor
from edge_runtime.exits.choosing import left_out
from edge_runtime.exits.files import ExitFile, read, write
from edge_runtime.exits.samples import read_samples
from edge_runtime.exits.training import Training, classifier_output, train
from edge_runtime.tensors import Array
from messages import mentions
from networks import run

COMMAND = [sys.executable, "-m", "edge_runtime.cli", "exits"]


def trained(model: Path, samples: Path, *at: str, **more: Any) -> tuple[ExitFile, Training]:
    file = read(model)
    classes = classifier_output(file).shape[1]
    found = read_samples(samples, file.graph.tensor(file.graph.inputs[0]), classes, 0.25, 0)
    return file, train(file, found, at=at, report=lambda _: None, **more)


def accuracies(training: Training) -> dict[str, float | None]:
    return {each.name: each.accuracy for each in training.exits if each.name}


def test_heads_at_named_tensors_become_exits_with_their_held_out_accuracy(
    model: Path, samples: Path, digits: tuple[Array, Array], tmp_path: Path
) -> None:
    file, training = trained(model, samples, "relu3", "relu1")
    found = accuracies(training)
    assert list(found) == ["exit1", "exit2", "final"], "by depth, not as named"
    assert found["exit1"] is not None
    assert found["exit1"] > 0.6
    path = tmp_path / "exits.onnx"
    write(file, training.model, path)
    stated = {each.name: each for each in read(path).exits}
    assert {name: each.accuracy for name, each in stated.items()} == found
    images, labels = digits[0][900:], digits[1][900:]
    outputs = run(path.read_bytes(), {"image": images})
    early = outputs[stated["exit1"].outputs[0]]
    assert early.shape == (897, 10)
    assert np.allclose(early.sum(axis=1), 1, atol=1e-4), "the model gives probabilities"
    right = (early.argmax(1) == labels).mean()
    assert found["exit1"] - 0.1 < right, "the file computes what was trained"
    before = run(model.read_bytes(), {"image": images})["probabilities"]
    assert np.array_equal(outputs["probabilities"], before), "the backbone is unchanged"


def test_without_tensors_the_exits_are_chosen_by_accuracy_and_work(model: Path, samples: Path) -> None:
    _, training = trained(model, samples, most=2)
    kept = [each for each in training.exits[:-1] if each.name]
    assert 1 <= len(kept) <= 2
    assert [each.work for each in kept] == sorted(each.work for each in kept)
    assert all(0 < each.work < 0.9 for each in kept)
    left = [each for each in training.exits if not each.name]
    assert {each.tensor for each in kept} | {each.tensor for each in left} >= {"relu1", "pool"}
    assert all(each.why for each in left)


def test_only_what_is_more_accurate_than_all_cheaper_ones_is_kept() -> None:
    tried = [("a", 0.1, 0.5), ("b", 0.2, 0.4), ("c", 0.5, 0.7), ("d", 0.6, 0.7), ("e", 0.8, 0.9)]
    assert left_out(tried, 3) == {
        "b": "not more accurate than a cheaper one",
        "d": "not more accurate than a cheaper one",
    }
    assert set(left_out(tried, 1)) == {"a", "b", "d", "e"}


def test_a_model_that_gives_scores_gets_heads_that_give_scores(
    scorer: bytes, samples: Path, tmp_path: Path
) -> None:
    path = tmp_path / "scores.onnx"
    path.write_bytes(scorer)
    _, training = trained(path, samples, "pool")
    assert [node.op_type for node in training.model.graph.node][-2:] == ["ReduceMean", "Gemm"]
    onnx.checker.check_model(training.model)


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
def test_heads_are_written_for_the_opset_of_the_file(
    model: Path, samples: Path, opset: int, tmp_path: Path
) -> None:
    changed = onnx.load(model)
    changed.opset_import[0].version = opset
    path = tmp_path / "opset.onnx"
    path.write_bytes(changed.SerializeToString())
    file, training = trained(path, samples, "pool")
    write(file, training.model, path)
    images = np.zeros((2, 1, 8, 8), np.float32)
    assert run(path.read_bytes(), {"image": images})["exit1_probabilities"].shape == (2, 10)


def test_another_training_keeps_the_exits_of_the_file(model: Path, samples: Path) -> None:
    file, training = trained(model, samples, "relu1")
    write(file, training.model, model)
    _, more = trained(model, samples, "pool")
    assert list(accuracies(more)) == ["exit1", "exit2", "final"]
    assert accuracies(more)["exit1"] == accuracies(training)["exit1"]


def test_the_planner_uses_a_trained_exit_where_the_full_model_is_too_slow(model: Path, samples: Path) -> None:
    file, training = trained(model, samples, "relu1")
    write(file, training.model, model)
    planned = read_model(model.read_bytes(), name="digits")
    assert [each.name for each in planned.exits] == ["exit1", "final"]
    early, full = planned.exits
    timings = {early.name: Timing(0.02, 0.02), full.name: Timing(0.08, 0.08)}
    segments = {pair: Timing(0.01, 0.01) for each in planned.exits for pair in each.segments()}
    entry = ClassProfile("camera", segments, timings)

    def chosen(slo: float) -> str:
        plan = plan_entry(EntryProblem(planned, entry, None, rtt=0.001, slo=Slo(slo)))
        assert isinstance(plan, Plan)
        return plan.table.routes[0].exit

    assert chosen(0.1) == max(planned.exits, key=lambda each: each.accuracy).name
    assert chosen(0.05) == "exit1"


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"labels": None}, ("has no labels", "inputs")),
        ({"inputs": np.zeros((9, 1, 8, 8), np.float64)}, ("float64 [9, 1, 8, 8]", "image FP32")),
        ({"labels": np.zeros(897, np.float32)}, ("labels are float32 [897]", "897 inputs")),
        ({"labels": np.full(897, 10)}, ("labels are 10 to 10", "0 to 9")),
        ({"labels": np.zeros(897, np.int64)}, ("all labels are 0", "two classes")),
        (
            {"inputs": np.zeros((9, 1, 8, 8), np.float32), "labels": np.zeros(9, np.int64)},
            ("9 samples", "50"),
        ),
    ],
)
def test_samples_that_do_not_fit_are_refused(
    model: Path, samples: Path, change: dict[str, Any], parts: tuple[str, ...], tmp_path: Path
) -> None:
    arrays = {**np.load(samples), **change}
    path = tmp_path / "changed.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(BadRequest, match=mentions("--samples", *parts)):
        trained(model, path)


def test_tensors_without_features_and_models_without_classes_are_refused(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnknownTensor, match=mentions("--at", '"nowhere"')):
        trained(model, samples, "nowhere")
    with pytest.raises(BadRequest, match=mentions("--at", "image", "inner tensor")):
        trained(model, samples, "image")
    with pytest.raises(NotFound, match=mentions("none.npz", "numpy.savez")):
        trained(model, tmp_path / "none.npz")
    changed = onnx.load(model)
    changed.graph.output.append(onnx.helper.make_tensor_value_info("scores", 1, ["N", 10]))
    path = tmp_path / "two.onnx"
    path.write_bytes(changed.SerializeToString())
    with pytest.raises(BadRequest, match=mentions("probabilities, scores", "exits add")):
        trained(path, samples)


def test_the_command_prints_a_report_and_writes_beside_the_model(model: Path, samples: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "train", str(model), "--samples", str(samples), "--at", "pool", "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["file"] == str(model.with_name("digits-exits.onnx"))
    assert [each["exit"] for each in found["exits"]] == ["exit1", "final"]
    assert (found["samples"], found["heldOut"]) == (897, 220)
    assert "training head 1 of 1 at pool" in done.stderr
    assert [each.name for each in read(Path(found["file"])).exits] == ["exit1", "final"]
    assert not read(model).exits, "the model itself is unchanged"
