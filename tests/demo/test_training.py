import json
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.datasets import load_digits

from demo.errors import StepFailed
from demo.samples import LabeledImages
from demo.training import TrainedModel, Training, key
from messages import mentions


def test_training_never_sees_a_held_out_digit(script: ModuleType) -> None:
    training, held_out = script.split_digits()
    assert not set(training) & set(held_out)
    assert len(training) + len(held_out) == 1797
    pictures = load_digits().images.reshape(1797, -1)
    seen = {picture.tobytes() for picture in pictures[training]}
    assert sum(picture.tobytes() in seen for picture in pictures[held_out]) == 0


def test_the_held_out_digits_hold_every_class_alike(script: ModuleType) -> None:
    _, held_out = script.split_digits()
    counts = np.bincount(load_digits().target[held_out])
    assert counts.min() >= 34
    assert counts.sum() == 360


def test_drawings_depend_on_the_seed_alone(script: ModuleType) -> None:
    digits = np.random.default_rng(0).random((2, 8, 8)).astype(np.float32)
    first, again, other = (script.draw(digits, 64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (2, 1, 64, 64)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_another_script_or_library_is_another_model() -> None:
    versions = {"jax": "0.10.2", "numpy": "2.4.6"}
    assert key(b"script", versions) == key(b"script", dict(reversed(versions.items())))
    assert (
        len({key(b"script", versions), key(b"other", versions), key(b"script", {**versions, "jax": "1"})})
        == 3
    )


def test_a_training_that_fails_is_shown_with_its_last_line(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import sys; print('epoch 1'); sys.exit('not enough memory')")
    said: list[str] = []
    with pytest.raises(StepFailed, match=mentions(1, "not enough memory")):
        Training(script, tmp_path / "cache", said.append).run()
    assert said == ["epoch 1", "not enough memory"]
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_training_that_is_stopped_ends_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import sys, threading; print('epoch 1', flush=True); threading.Event().wait()")
    training = Training(script, tmp_path / "cache", lambda line: training.stop())
    with pytest.raises(StepFailed, match="epoch 1"):
        training.run()
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_the_accuracy_of_the_exits_rises_with_their_depth(model: TrainedModel) -> None:
    accuracies = [exit_["accuracy"] for exit_ in exits_of(model)]
    assert len(accuracies) == 5
    assert all(after - before >= 0.01 for before, after in pairwise(accuracies)), accuracies
    assert accuracies[-1] > 0.9


def test_the_accuracies_in_the_file_are_those_of_the_held_out_images(model: TrainedModel) -> None:
    session = onnxruntime.InferenceSession(model.onnx, providers=["CPUExecutionProvider"])
    samples = LabeledImages.load(model.held_out)
    images, labels = samples.images[:60], samples.labels[:60]
    whole = exits_of(model)
    results = session.run([exit_["output"] for exit_ in whole], {"image": images})
    for exit_, logits in zip(whole, results, strict=True):
        share = float((logits.argmax(1) == labels).mean())
        assert abs(share - exit_["accuracy"]) < 0.2, exit_  # 60 of the 360


def test_the_file_names_its_input_outputs_and_batch_as_agreed(model: TrainedModel) -> None:
    graph = onnx.load(model.onnx).graph
    (image,) = graph.input
    shape = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert (image.name, shape) == ("image", ["N", 1, 128, 128])
    assert [exit_["output"] for exit_ in exits_of(model)] == [output.name for output in graph.output]
    made = {name for node in graph.node for name in node.output}
    assert {"conv1", "pool1", "conv2", "reduce2", "conv3", "conv4", "conv5", "pool5"} <= made


def test_every_node_begins_with_another_image_and_no_image_is_left_out(model: TrainedModel) -> None:
    first, second = LabeledImages.load(model.held_out), LabeledImages.load(model.held_out, offset=37)
    assert np.array_equal(np.roll(first.labels, -37), second.labels)
    assert first.images.shape == (360, 1, 128, 128)
    assert first.images.max() <= 1.0


def exits_of(model: TrainedModel) -> list[dict[str, Any]]:
    properties = {entry.key: entry.value for entry in onnx.load(model.onnx).metadata_props}
    found: list[dict[str, Any]] = json.loads(properties["edge.exits"])
    return found
