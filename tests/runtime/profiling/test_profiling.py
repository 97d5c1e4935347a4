"""Segments and exits in a device's profile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edge_runtime.errors import CannotLoad
from edge_runtime.model_metadata import metadata_of
from edge_runtime.profiling import Measured, measure, measure_all, profile_device, relative_error
from edge_runtime.samples.flags import NOTHING, Given
from edge_runtime.slicing import Graph, digest_of
from networks import info, model_of


class Clock:
    """A clock that a run advances."""

    def __init__(self, durations: list[float]) -> None:
        self.now, self._durations, self.runs = 0.0, durations, 0

    def __call__(self) -> float:
        return self.now

    def run(self) -> None:
        self.now += self._durations[self.runs % len(self._durations)]
        self.runs += 1


def test_the_mean_is_over_sustained_runs_with_the_pauses_that_a_quota_causes() -> None:
    clock = Clock([0.001, 0.001, 0.001, 0.017])  # fast until the quota is used up
    measured = measure(clock.run, 1.0, clock)
    assert measured.mean == pytest.approx(0.005, rel=0.05)
    assert measured.p95 == pytest.approx(0.017)
    assert measured.runs == pytest.approx(200, abs=10)


def test_a_slow_slice_is_run_at_least_twice_a_round() -> None:
    clock = Clock([3.0])
    assert measure(clock.run, 1.0, clock) == Measured(3.0, 3.0, 2)


def test_a_round_in_which_the_machine_was_busy_spoils_no_slice() -> None:
    # A round runs a slice three times, once to warm up; the second of the four is ten times slower.
    clock = Clock([1.0] * 6 + [10.0] * 6 + [1.0] * 12)
    measured = measure_all({"a": clock.run, "b": clock.run}, 4.0, lambda _: None, clock)
    assert {key: (m.mean, m.p95) for key, m in measured.items()} == {"a": (1.0, 1.0), "b": (1.0, 1.0)}
    assert {key: m.runs for key, m in measured.items()} == {"a": 8, "b": 8}


def test_the_relative_error_is_the_largest_over_the_exits() -> None:
    exits = [
        {"name": "exit1", "outputs": ["a"], "cuts": [{"tensor": "image"}, {"tensor": "c1"}]},
        {"name": "final", "outputs": ["b"], "cuts": [{"tensor": "image"}, {"tensor": "c1"}]},
    ]
    segments = {
        ("image", "c1"): Measured(1.0, 1.0, 5),
        ("c1", "a"): Measured(0.5, 0.5, 5),
        ("c1", "b"): Measured(2.0, 2.0, 5),
    }
    whole = {"a": Measured(1.5, 1.5, 5), "b": Measured(2.5, 2.5, 5)}
    assert relative_error(exits, segments, whole) == pytest.approx(0.2)


class Cutting:
    """The model store's calls for one model, without a store."""

    def __init__(self, model: bytes) -> None:
        self._graph, self._metadata = Graph(model), metadata_of(Graph(model), len(model)).document()
        self._slices: dict[str, bytes] = {}

    async def metadata(self, model: str) -> Any:
        return self._metadata

    async def slice(self, model: str, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
        data = self._graph.slice(inputs, outputs)
        takes, gives = self._graph.contract(inputs, outputs)
        self._slices[digest_of(data)] = data
        return {
            "digest": digest_of(data),
            "inputs": [t.document() for t in takes],
            "outputs": [t.document() for t in gives],
        }

    async def blob(self, digest: str) -> bytes:
        return self._slices[digest]


def _shares(first: str) -> bytes:
    """1 / x, or 1 / (x + an addend), in integers."""
    nodes = [
        helper.make_node("Add", ["x", first], ["more"]),
        helper.make_node("Div", ["one", "more"], ["y"]),
    ]
    constants = {"zero": np.array([0], np.int64), "one": np.array([1], np.int64)}
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    x, y = (info(name, "N", 2, datatype="INT64") for name in "xy")
    return model_of(nodes, [x], [y], weights, [{"name": "full", "output": "y", "accuracy": 0.9}])


def _profile(model: bytes, given: Given = NOTHING) -> dict[str, Any]:
    store: Any = Cutting(model)
    return asyncio.run(
        profile_device(
            store,
            "sha256:0",
            "camera",
            "edge-b",
            selection="factory-1",
            seconds=0.002,
            progress=lambda _: None,
            given=given,
        )
    )


def test_slices_in_the_middle_are_not_measured_on_zeros() -> None:
    found = _profile(_shares("one"))
    assert [(s["from"], s["to"]) for s in found["segments"]] == [("x", "more"), ("more", "y")]
    assert found["inputs"] == [{"name": "x", "datatype": "INT64", "shape": [1, 2], "values": "zeros"}]
    assert found["assumed"] == [{"input": "x", "dimension": 0, "symbol": "N", "size": 1}]


def test_a_model_that_refuses_zeros_is_measured_on_what_is_given() -> None:
    with pytest.raises(CannotLoad, match=r"on zeros .*division by zero.*--input x=VALUE.*profile-device"):
        _profile(_shares("zero"))
    found = _profile(_shares("zero"), Given(values={"x": "3"}))
    assert found["inputs"][0]["values"] == "given"


def test_exits_of_several_outputs_are_measured_from_all_inputs_they_need() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "narrow"], ["h"]),
        helper.make_node("Add", ["h", "state"], ["stateN"]),
        helper.make_node("MatMul", ["stateN", "last"], ["y"]),
    ]
    constants = {"narrow": np.ones((64, 4), np.float32), "last": np.ones((4, 2), np.float32)}
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    inputs, outputs = [info("x", "N", 64), info("state", 1, 4)], [info("y", "N", 2), info("stateN", "N", 4)]
    exits = [
        {"name": "early", "output": "stateN", "accuracy": 0.5, "responseNames": "Own"},
        {"name": "full", "outputs": ["y", "stateN"], "accuracy": 0.9},
    ]
    found = _profile(model_of(nodes, inputs, outputs, weights, exits))
    assert [(e["exit"], e["output"]) for e in found["exits"]] == [("early", "stateN"), ("full", "y+stateN")]
    assert {(s["from"], s["to"]) for s in found["segments"]} == {
        ("x+state", "state+h"),
        ("state+h", "stateN"),
        ("stateN", "y+stateN"),
    }
    assert [(i["name"], i["shape"]) for i in found["inputs"]] == [("x", [1, 64]), ("state", [1, 4])]
