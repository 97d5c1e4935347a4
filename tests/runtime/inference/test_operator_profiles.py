"""Operators as onnxruntime's profiler reports them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_planning.costs.operators import Operator
from edge_runtime.errors import CannotLoad, ModelFailed
from edge_runtime.inference.operator_profiles import (
    LEAST,
    PROFILED,
    TYPICAL,
    Ran,
    documents,
    in_runs,
    joined,
    measured_operators,
    of_run,
    operators_of,
    own_microseconds,
)

Array = Any
ADD, RELU = (Operator(kind, "float", ((4,),), ((4,),)) for kind in ("Add", "Relu"))


def event(name: str, start: int, duration: int, kind: str = "Add", index: str = "0") -> dict[str, Any]:
    shapes = {"input_type_shape": [{"float": [4]}], "output_type_shape": [{"float": [4]}]}
    arguments = {"op_name": kind, "node_index": index, **shapes}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": duration, "args": arguments}


def run_at(start: int, duration: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": start, "dur": duration}


def test_an_operator_that_contains_others_has_only_its_own_time() -> None:
    events = [event("if", 0, 100, "If"), event("a", 20, 30), event("b", 55, 35), event("after", 110, 5)]
    assert own_microseconds(events) == [100 - (90 - 20), 30, 35, 5]


def test_the_first_run_warms_up_and_does_not_count() -> None:
    events = [run_at(0, 50), event("a", 10, 30), run_at(100, 20), event("a", 105, 10)]
    assert [[each["ts"] for each in run] for run in in_runs(events)] == [[105]]
    assert [[each["ts"] for each in run] for run in in_runs(events[:2])] == [[10]]


def test_the_time_of_an_operator_is_the_mean_of_the_faster_half_of_the_runs() -> None:
    runs = [[event("a", 0, duration)] for duration in (10, 900, 12, 700)]
    (ran,) = joined(runs[0], runs)
    assert ran.seconds == pytest.approx(11.5e-6)  # microseconds are rounded down


def test_inputs_that_packing_hides_are_those_of_the_run_without_packing() -> None:
    hidden = event("a", 0, 10, "MatMul")
    shown = event("a", 0, 90, "MatMul")
    shown["args"]["input_type_shape"] = [{"float": [1, 4]}, {"float": [4, 8]}]
    (ran,) = joined([shown], [[hidden]])
    assert ran.operator == Operator("MatMul", "float", ((1, 4), (4, 8)), ((4,),))


def test_runs_with_different_operators_are_refused() -> None:
    with pytest.raises(ModelFailed, match="differ between runs"):
        joined([event("a", 0, 1)], [[event("a", 0, 1)], [event("a", 0, 1), event("b", 2, 1)]])


def test_what_the_profiler_adds_is_taken_from_each_operator() -> None:
    ran = [Ran("a", ADD, 12e-6), Ran("b", RELU, 4e-6)]
    own = of_run(ran, 12e-6)
    assert [each.seconds for each in own] == pytest.approx([10e-6, 2e-6])


def test_times_are_scaled_to_a_run_that_the_profiler_did_not_disturb() -> None:
    own = of_run([Ran("a", ADD, 100e-6 + TYPICAL), Ran("b", RELU, 300e-6 + TYPICAL)], 200e-6)
    assert [each.seconds for each in own] == pytest.approx([50e-6, 150e-6])


def test_an_operator_that_takes_less_than_the_profiler_has_some_time_left() -> None:
    own = of_run([Ran("a", ADD, PROFILED[0] / 2)], LEAST)
    assert own[0].seconds == pytest.approx(LEAST)
    assert of_run([], 1.0) == []


def test_equal_operators_are_reported_once_with_their_number_and_mean_time() -> None:
    ran = [Ran("a", ADD, 1e-6), Ran("b", RELU, 5e-6), Ran("c", ADD, 3e-6)]
    listed = documents(ran)
    assert [(each["kind"], each["count"], each["seconds"]) for each in listed] == [
        ("Add", 2, 2e-6),
        ("Relu", 1, 5e-6),
    ]
    assert [each["kind"] for each in documents(ran, 1)] == ["Relu"]


def test_a_model_reports_its_fused_operators_with_the_shapes_of_their_weights(
    chain_model: bytes, images: Array
) -> None:
    ran = operators_of(chain_model, {"image": images[:1].astype(np.float32)})
    convolutions = [each.operator for each in ran if "Conv" in each.operator.kind]
    assert len(convolutions) == 3
    assert all(len(one.inputs[1]) == 4 for one in convolutions)
    assert "Relu" not in {each.operator.kind for each in ran}  # it is part of the convolutions
    assert all(each.seconds == 0 for each in ran)


def test_measured_operators_and_a_call_sum_to_a_run(chain_model: bytes, images: Array) -> None:
    feeds = {"image": images[:1].astype(np.float32)}
    found = measured_operators(chain_model, feeds, 0.01, seconds=0.01)
    total = sum(each["seconds"] * each["count"] for each in found["observed"])
    assert total + found["callSeconds"] == pytest.approx(0.01, rel=1e-2)


def test_a_broken_file_and_failing_inputs_have_errors_of_their_own(chain_model: bytes) -> None:
    with pytest.raises(CannotLoad, match="cannot load"):
        operators_of(b"nothing", {})
    with pytest.raises(ModelFailed, match="on these inputs"):
        operators_of(chain_model, {"image": np.zeros((1, 2), np.float32)})
