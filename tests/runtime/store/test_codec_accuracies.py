"""The accuracy of each codec, measured on a synthetic task."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edge_runtime.errors import BadRequest
from edge_runtime.slicing import Graph
from edge_runtime.store import codec_accuracies
from edge_runtime.store.codec_accuracies import Refusal, measure_codecs
from edge_runtime.trials.verdicts import out_of_memory
from messages import mentions
from networks import info, model_of

SIDES = 8


def _signs(spread: float) -> Graph:
    """Which half of 8 numbers has the larger sum, from a hidden layer with one unused number `spread` times
    as large as the others: the worst case for a range of the whole tensor.
    """
    wide = np.eye(SIDES, SIDES + 1, dtype=np.float32)
    wide[:, SIDES] = spread / SIDES
    halves = np.zeros((SIDES + 1, 2), np.float32)
    halves[: SIDES // 2, 0] = halves[SIDES // 2 : SIDES, 1] = 1
    nodes = [
        helper.make_node("MatMul", ["x", "wide"], ["hidden"]),
        helper.make_node("Tanh", ["x"], ["unused"]),
        helper.make_node("MatMul", ["hidden", "halves"], ["y"]),
    ]
    weights = [numpy_helper.from_array(wide, "wide"), numpy_helper.from_array(halves, "halves")]
    return Graph(model_of(nodes, [info("x", "N", SIDES)], [info("y", "N", 2)], weights))


SAMPLES = np.random.default_rng(5).uniform(0.5, 1, size=(400, SIDES)).astype(np.float32)
LABELS = (SAMPLES[:, SIDES // 2 :].sum(1) > SAMPLES[:, : SIDES // 2].sum(1)).astype(np.int64)


def test_a_cut_with_values_of_one_size_loses_next_to_nothing() -> None:
    measured = measure_codecs(_signs(1), {"final": "y"}, {"x": SAMPLES}, LABELS)
    by = {(m.cut, m.codec): m for m in measured}
    assert len(by) == 6
    for cut in (("x",), ("hidden",)):
        assert by[cut, "fp32"].accuracy == 1.0
        assert by[cut, "fp32"].agreement == 1.0
        assert by[cut, "fp16"].agreement >= 0.995
        assert by[cut, "int8"].agreement >= 0.97
        assert by[cut, "fp32"].error <= by[cut, "fp16"].error < by[cut, "int8"].error < 0.02
    assert [by[("hidden",), codec].bytes for codec in ("fp32", "fp16", "int8")] == [36, 18, 9 + 5]


def test_a_cut_with_one_large_value_loses_where_int8_has_no_steps_left_and_fp16_does_not() -> None:
    measured = measure_codecs(
        _signs(1000), {"final": "y"}, {"x": SAMPLES}, LABELS, cuts={"final": [["hidden"]]}
    )
    accuracy = {m.codec: m.accuracy for m in measured}
    assert accuracy["fp32"] == 1.0
    assert accuracy["fp16"] >= 0.99
    assert accuracy["int8"] < 0.7


def test_samples_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadRequest, match=mentions("x is [400, 8]", "3 labels")):
        measure_codecs(_signs(1), {"final": "y"}, {"x": SAMPLES}, LABELS[:3])
    with pytest.raises(BadRequest, match=mentions("samples:", "['z']", "'x'")):
        measure_codecs(_signs(1), {"final": "y"}, {"z": SAMPLES}, LABELS)


def _widened(times: int) -> Graph:
    """8 numbers, `times` as many in the middle, and 2 classes."""
    rng = np.random.default_rng(6)
    weights = {
        "wide": rng.normal(size=(SIDES, SIDES * times)).astype(np.float32),
        "narrow": rng.normal(size=(SIDES * times, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "wide"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "narrow"], ["y"]),
    ]
    made = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    return Graph(model_of(nodes, [info("x", "N", SIDES)], [info("y", "N", 2)], made))


def test_values_that_are_not_held_give_the_same_accuracies(monkeypatch: pytest.MonkeyPatch) -> None:
    held = measure_codecs(_widened(4), {"final": "y"}, {"x": SAMPLES}, LABELS)
    monkeypatch.setattr(codec_accuracies, "HELD", 0)
    assert measure_codecs(_widened(4), {"final": "y"}, {"x": SAMPLES}, LABELS) == held


def test_more_samples_take_no_more_memory_than_a_batch_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    times = 4096
    a_batch = codec_accuracies.BATCH * SIDES * times * 4
    monkeypatch.setattr(codec_accuracies, "HELD", a_batch)
    graph = _widened(times)
    tracemalloc.start()
    try:
        measured = measure_codecs(graph, {"final": "y"}, {"x": SAMPLES}, LABELS, cuts={"final": [["hidden"]]})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {m.codec for m in measured} == {"fp32", "fp16", "int8"}
    assert peak < len(SAMPLES) * SIDES * times * 4 * 0.8, peak / a_batch


def test_a_cut_for_which_memory_does_not_suffice_leaves_the_others_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lacking(tensors: Any, *_: Any) -> None:
        if tensors[0].name == "hidden":
            raise MemoryError("no 25 MiB")

    monkeypatch.setattr(codec_accuracies, "check_values", lacking)
    refused: list[Refusal] = []
    measured = measure_codecs(_signs(1), {"final": "y"}, {"x": SAMPLES}, LABELS, refused=refused.append)
    assert {(r.cut, r.codec) for r in refused} == {(("hidden",), "fp16"), (("hidden",), "int8")}
    assert all(out_of_memory(r.why) and "no 25 MiB" in r.why for r in refused)
    assert len(measured) == 4
