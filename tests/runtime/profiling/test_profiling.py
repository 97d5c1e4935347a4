"""Segments and exits in a device's profile."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edge_runtime.errors import InputsRefused
from edge_runtime.model_metadata import metadata_of
from edge_runtime.model_shapes import shapes_of
from edge_runtime.profiling import Measured, Progress, measure, measure_all, profile_device, relative_error
from edge_runtime.samples.flags import NOTHING, Given
from edge_runtime.slicing import Graph, digest_of
from messages import mentions
from networks import info, model_of
from weighty import weighty


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


def test_runs_during_which_the_process_stood_still_do_not_count() -> None:
    clock = Clock([0.1, 0.1, 5.0])
    # The runs of 5 s end after a pause.
    measured = measure(clock.run, 0.5, clock, lambda: clock.runs // 3)
    assert (measured.mean, measured.p95) == pytest.approx((0.1, 0.1))


def test_a_slow_slice_is_run_at_least_twice_a_round() -> None:
    clock = Clock([3.0])
    assert measure(clock.run, 1.0, clock) == Measured(3.0, 3.0, 2)


def test_a_round_in_which_the_machine_was_busy_spoils_no_slice() -> None:
    # A round runs a slice three times, once to warm up; the second and third of the six are ten times slower.
    clock = Clock([1.0] * 6 + [10.0] * 12 + [1.0] * 18)
    measured = measure_all({"a": clock.run, "b": clock.run}, lambda key: 6.0, lambda _: None, clock)
    assert {key: (m.mean, m.p95) for key, m in measured.items()} == {"a": (1.0, 1.0), "b": (1.0, 1.0)}
    assert {key: m.runs for key, m in measured.items()} == {"a": 12, "b": 12}


def test_slices_are_measured_as_long_as_each_is_given() -> None:
    clock = Clock([0.5])
    measured = measure_all(
        {"whole": clock.run, "part": clock.run},
        {"whole": 60.0, "part": 12.0}.__getitem__,
        lambda _: None,
        clock,
    )
    assert {key: m.runs for key, m in measured.items()} == {"whole": 120, "part": 24}


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

    def __init__(self, model: bytes, inputs: Sequence[Any] = (), samples: bytes | None = None) -> None:
        self._graph = Graph(model)
        metadata = metadata_of(self._graph, len(model), shapes=shapes_of(self._graph, inputs))
        kept = {} if samples is None else {digest_of(samples): samples}
        self._metadata = metadata.document() | {"samples": next(iter(kept), None)}
        self._slices: dict[str, bytes] = kept

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


ADDENDS = {"minus": -1, "zero": 0, "one": 1}


def _shares(first: str) -> bytes:
    """1 / x, or 1 / (x + an addend), in integers."""
    nodes = [
        helper.make_node("Add", ["x", first], ["more"]),
        helper.make_node("Div", ["one", "more"], ["y"]),
    ]
    constants = {name: np.array([value], np.int64) for name, value in ADDENDS.items()}
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    x, y = (info(name, "N", 2, datatype="INT64") for name in "xy")
    return model_of(nodes, [x], [y], weights, [{"name": "full", "output": "y", "accuracy": 0.9}])


def _profile(
    model: bytes,
    given: Given = NOTHING,
    inputs: Sequence[Any] = (),
    samples: bytes | None = None,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    store: Any = Cutting(model, inputs, samples)
    return asyncio.run(
        profile_device(
            store,
            "sha256:0",
            "camera",
            "edge-b",
            selection="factory-1",
            seconds=0.002,
            progress=progress,
            given=given,
        )
    )


def test_slices_in_the_middle_are_not_measured_on_zeros() -> None:
    found = _profile(_shares("one"))
    assert [(s["from"], s["to"]) for s in found["segments"]] == [("x", "more"), ("more", "y")]
    assert found["inputs"] == [{"name": "x", "datatype": "INT64", "shape": [1, 2], "values": "generated"}]
    assert found["assumed"] == [{"input": "x", "dimension": 0, "symbol": "N", "size": 1}]


def test_a_model_that_refuses_zeros_is_measured_on_generated_values() -> None:
    found = _profile(_shares("zero"))
    assert [e["exit"] for e in found["exits"]] == ["full"]
    assert found["inputs"][0]["values"] == "generated"


def test_a_model_that_refuses_generated_values_is_measured_on_zeros() -> None:
    found = _profile(_shares("minus"))
    assert found["inputs"][0]["values"] == "zeros"


def test_a_large_model_is_measured_without_packed_weights_too() -> None:
    said: list[str] = []
    found = _profile(weighty(12), progress=said.append)
    assert found["packing"].keys() == {"slowdown", "packedMemory", "unpackedMemory"}
    assert found["packing"]["slowdown"] > 0
    assert 0.5 < found["packing"]["unpackedMemory"] < 1.5
    assert any("without packed weights" in line for line in said)


def test_a_small_model_has_no_choice_to_measure() -> None:
    assert _profile(_shares("one"))["packing"] is None


def test_a_model_that_refuses_both_has_no_times_and_says_why() -> None:
    found = _profile(_inverse_of_a_product())
    assert (found["segments"], found["exits"]) == ([], [])
    assert found["requests"]["processors"] > 0
    assert mentions("division by zero", "--input x=VALUE").search(found["refused"])
    given = _profile(_inverse_of_a_product(), Given(values={"x": "3"}))
    assert given["inputs"][0]["values"] == "given"
    assert "refused" not in given
    with pytest.raises(InputsRefused, match="division by zero"):
        _profile(_inverse_of_a_product(), Given(values={"x": "1"}))


def _inverse_of_a_product() -> bytes:
    """1 / (x (x - 1)) in integers."""
    nodes = [
        helper.make_node("Sub", ["x", "one"], ["less"]),
        helper.make_node("Mul", ["x", "less"], ["product"]),
        helper.make_node("Div", ["one", "product"], ["y"]),
    ]
    x, y = (info(name, "N", 2, datatype="INT64") for name in "xy")
    exits = [{"name": "full", "output": "y", "accuracy": 0.9}]
    return model_of(nodes, [x], [y], [numpy_helper.from_array(np.array([1]), "one")], exits)


STATED = [{"name": "x", "maxShape": [1, 3, 64, 64], "typicalShape": [1, 3, 16, 16]}]


def test_a_model_with_open_dimensions_is_measured_at_each_of_its_shapes() -> None:
    found = _profile(halving(), inputs=STATED)
    assert [each["inputs"] for each in found["shapes"]] == [
        {"x": [1, 3, 16, 16]},
        {"x": [1, 3, 32, 32]},
        {"x": [1, 3, 64, 64]},
    ]
    for each in found["shapes"]:
        assert [(s["from"], s["to"]) for s in each["segments"]] == [
            ("x", "halved"),
            ("halved", "pooled"),
            ("pooled", "y"),
        ]
        assert [(e["output"], e["responseBytes"]) for e in each["exits"]] == [("y", 12)]
    assert found["segments"] == found["shapes"][-1]["segments"]
    assert found["inputs"][0]["shape"] == [1, 3, 64, 64]
    assert found["assumed"] == []


def test_the_bytes_of_a_response_are_those_of_the_outputs_that_were_computed() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["places"])]
    model = model_of(nodes, [info("x", "N", 4)], [info("places", 2, "found", datatype="INT64")], [])
    given = Given(values={"x": "[[1, 0, 1, 1]]"})
    (exit_,) = _profile(model, given)["exits"]
    assert exit_["responseBytes"] == 2 * 3 * 8


def test_each_round_measures_all_shapes() -> None:
    said: list[str] = []
    _profile(halving(), inputs=STATED, progress=said.append)
    rounds = [line for line in said if line.startswith("round ")]
    assert rounds == [f"round {number} of 6: 12 slices measured" for number in range(1, 7)]


def test_a_shape_between_that_the_model_refuses_is_left_out() -> None:
    said: list[str] = []
    found = _profile(halving(only=(16, 64)), inputs=STATED, progress=said.append)
    assert [each["inputs"]["x"][2] for each in found["shapes"]] == [16, 64]
    assert any("x=1x3x32x32 is left out" in line for line in said)


def test_the_largest_shape_that_the_model_refuses_leaves_it_unmeasured() -> None:
    found = _profile(halving(only=(16, 32)), inputs=STATED)
    assert found["segments"] == []
    assert "refused" in found
    # With the shapes that it was tried at, which tell when to try others.
    assert [each["inputs"]["x"][2] for each in found["shapes"]] == [16, 32, 64]


def test_samples_of_the_model_are_used_at_every_shape() -> None:
    file = io.BytesIO()
    np.savez(file, x=np.ones((4, 3, 16, 16), np.float32))
    found = _profile(halving(), inputs=STATED, samples=file.getvalue())
    assert (found["inputs"][0]["values"], found["samples"]) == ("samples", 4)
    assert found["samplesDigest"] == digest_of(file.getvalue())
    assert len(found["shapes"]) == 3


def test_samples_may_have_an_input_that_no_exit_needs() -> None:
    model = ModelProto.FromString(halving())
    model.graph.input.append(info("length", "N", datatype="INT64"))
    file = io.BytesIO()
    np.savez(file, x=np.ones((4, 3, 16, 16), np.float32), length=np.ones((4, 1), np.int64))
    found = _profile(model.SerializeToString(), inputs=STATED, samples=file.getvalue())
    assert [each["name"] for each in found["inputs"]] == ["x"]


def halving(only: Sequence[int] = ()) -> bytes:
    """A network for images of any size; with `only`, one that fails at other heights than these."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["halved"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["halved"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    weights = []
    if only:
        # An index beyond the table of heights is refused.
        table = np.full(65, 70)
        table[list(only)] = 0
        weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array(2), "two")]
        nodes = [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Gather", ["shape", "two"], ["height"]),
            helper.make_node("Gather", ["table", "height"], ["place"]),
            helper.make_node("Gather", ["table", "place"], ["checked"]),
            helper.make_node("Cast", ["checked"], ["number"], to=TensorProto.FLOAT),
            *nodes[:2],
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Add", ["flat", "number"], ["y"]),
        ]
    exits = [{"name": "full", "output": "y", "accuracy": 0.9}]
    return model_of(nodes, [info("x", "N", 3, "H", "W")], [info("y", "N", 3)], weights, exits)


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
