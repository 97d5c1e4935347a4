"""Clients get onnxruntime's outputs: without a batch, as many as were found, or none."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from callers import CALLERS, Caller, by_bytes
from counting import KINDS, counting, picture, several
from messages import mentions
from networks import info, model_of, run
from routed import routed
from stages import alone, ask

WAYS: dict[str, tuple[str, ...]] = {
    "alone": (),
    "at the entry node": (),
    "over a hop": ("a",),
    "over two hops": ("a", "b"),
}
FOUND = st.lists(st.integers(0, 3), min_size=1, max_size=3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_clients_get_what_onnxruntime_gives(kind: str, way: str, tmp_path: Path) -> None:
    model = counting(kind, exits=way == "alone")
    with ExitStack() as stack:
        if way == "alone":
            (tmp_path / "m.onnx").write_bytes(model)
            stack.enter_context(alone(tmp_path / "m.onnx", name="digits", uds=tmp_path))
            sockets = tmp_path
        else:
            sockets = stack.enter_context(routed(model, "y", WAYS[way], tmp_path))

        def check(hits: list[int], caller: Caller) -> None:
            x = picture(len(hits), hits)
            (right,) = run(model, {"x": x}).values()
            (answer,) = caller(sockets, "digits", {"x": x}).values()
            assert answer.shape == right.shape
            np.testing.assert_array_equal(answer, right)

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
        @given(hits=FOUND, caller=st.sampled_from(CALLERS))
        def always(hits: list[int], caller: Caller) -> None:
            check(hits, caller)

        for caller in CALLERS:
            for hits in ([0], [1], [2], [0, 0]):
                check(hits, caller)
        always()


def test_a_model_of_many_outputs_gives_each_as_onnxruntime_does(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(several())
    with alone(tmp_path / "m.onnx", uds=tmp_path):

        @settings(max_examples=40, deadline=None)
        @given(hits=FOUND, caller=st.sampled_from(CALLERS))
        def equal(hits: list[int], caller: Caller) -> None:
            x = picture(len(hits), hits)
            answers = caller(tmp_path, "m", {"x": x})
            for name, right in run(several(), {"x": x}).items():
                assert answers[name].shape == right.shape
                np.testing.assert_array_equal(answers[name], right)

        equal()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["alone", "at the entry node", "over a hop"])
def test_confidence_is_computed_from_the_rows_of_a_batch_only(kind: str, way: str, tmp_path: Path) -> None:
    """One box in one image has the shape of one row of classes, whatever the file's name of the dimension."""
    x = picture(1, [1])
    given = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
    model = counting(kind, exits=True)
    with ExitStack() as stack:
        if way == "alone":
            (tmp_path / "m.onnx").write_bytes(model)
            stack.enter_context(alone(tmp_path / "m.onnx", name="digits", uds=tmp_path))
            sockets = tmp_path
        else:
            sockets = stack.enter_context(routed(model, "y", WAYS[way], tmp_path))
        status, answer = ask(sockets, "POST", "/v2/models/digits/infer", {"inputs": [given]})
    assert status == 200
    assert ("confidence" in answer["parameters"]) == (kind == "a row for each")


@pytest.mark.parametrize("kind", KINDS)
def test_a_fallback_answers_as_onnxruntime_does(kind: str, tmp_path: Path) -> None:
    model = counting(kind)
    with routed(model, "y", ("a",), tmp_path, last_of=b"", local=True) as sockets:
        for hits in ([0], [2], [1, 0]):
            x = picture(len(hits), hits)
            (right,) = run(model, {"x": x}).values()
            (answer,) = by_bytes(sockets, "digits", {"x": x}).values()
            assert answer.shape == right.shape
            np.testing.assert_array_equal(answer, right)


@pytest.mark.parametrize(("hits", "refused"), [([2, 1], True), ([1, 1], False)])
def test_what_has_the_batch_is_checked_against_the_batch(
    hits: list[int], refused: bool, tmp_path: Path
) -> None:
    """The stage behind the hop returns a row for each detection, not for each item."""
    x = picture(2, hits)
    given = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
    model, other = counting("a row for each"), counting("boxes")
    with routed(model, "y", ("a",), tmp_path, last_of=other) as sockets:
        status, answer = ask(sockets, "POST", "/v2/models/digits/infer", {"inputs": [given]})
    assert status == (503 if refused else 200)
    if refused:
        assert mentions("y with 3 rows", 2).search(answer["error"])


def test_a_hop_that_finds_nothing_is_not_a_hop_that_fails(tmp_path: Path) -> None:
    with routed(counting("boxes"), "y", ("a",), tmp_path, local=True) as sockets:
        for hits in ([0], [0, 0], [2], [0]) * 3:
            x = picture(len(hits), hits)
            given = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
            status, answer = ask(sockets, "POST", "/v2/models/digits/infer", {"inputs": [given]})
            assert status == 200
            assert answer["parameters"]["route"] == "full@a"
            assert "confidence" not in answer["parameters"]


@pytest.mark.parametrize(("rows", "sure"), [(1, True), (5, False)])
def test_a_fixed_batch_has_confidence_where_its_rows_are_the_responses(
    rows: int, sure: bool, tmp_path: Path
) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    shape = numpy_helper.from_array(np.array([rows, 10 // rows], np.int64), "shape")
    exits = [{"name": "full", "output": "y", "accuracy": 0.9}]
    model = model_of(nodes, [info("x", 1, 10)], [info("y", rows, 10 // rows)], [shape], exits)
    (tmp_path / "m.onnx").write_bytes(model)
    given = {"name": "x", "shape": [1, 10], "datatype": "FP32", "data": [0.0] * 10}
    with alone(tmp_path / "m.onnx", uds=tmp_path):
        status, answer = ask(tmp_path, "POST", "/v2/models/m/infer", {"inputs": [given]})
    assert status == 200
    assert ("confidence" in answer["parameters"]) == sure
