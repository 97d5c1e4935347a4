"""Models of several inputs and outputs, from the file through the store's metadata to planned routes.

Every route of every mode gives what onnxruntime gives, by slices as they are placed.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from detectors import FEEDS, MODELS, detector, voice
from edge_api.inferenceservices import InferenceServiceSpec, Mode
from edge_operator.keys import SliceKey
from edge_operator.pool import manifests, recorded
from edge_operator.pool.pieces import pieces
from edge_operator.pool_nodes import Node, PoolMember
from edge_operator.store_answers import DeviceProfile, ModelCard
from edge_planning import Plan, plan_entry
from edge_planning.plans import Route
from edge_runtime.errors import BadRequest
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.catalogue import Catalogue
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.reachable import reachable
from edge_runtime.tensors import Array
from messages import mentions
from networks import info, model_of

SPEC: dict[str, Any] = {
    "model": {"storageUri": "store://m.onnx"},
    "slo": {"latency": "200ms"},
    "devicePool": "factory",
}


class Served:
    """A model in the store, with the routes of a plan and their slices."""

    def __init__(self, data: bytes, folder: Path) -> None:
        self.data, self.blobs = data, Blobs(folder / "store", 1 << 30)
        (folder / "shared").mkdir()
        self.path = folder / "shared" / "m.onnx"
        self.path.write_bytes(data)
        self.holdings = Holdings(self.blobs)
        self.catalogue = Catalogue(self.blobs, reachable(self.blobs.root, [folder / "shared"], []))

    def card(self, exits: Sequence[Mapping[str, Any]] | None = None) -> ModelCard:
        request: dict[str, Any] = {"storageUri": f"file://{self.path}"}
        if exits is not None:
            request["exits"] = list(exits)
        return ModelCard.model_validate(self.catalogue.add_model(request, self.holdings))

    def through(self, keys: Sequence[SliceKey], feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of the exit; each slice has what the one before sends, and no more."""
        values, kept = dict(feeds), dict[str, Array]()
        for key in keys:
            request = {"model": key.model, "inputs": list(key.inputs), "outputs": list(key.outputs)}
            request["kept"] = list(key.kept)
            made = self.catalogue.add_slice(request, self.holdings)
            session = onnxruntime.InferenceSession(
                self.blobs.read_blob(made["digest"]), providers=["CPUExecutionProvider"]
            )
            names = [output.name for output in session.get_outputs()]
            given = {tensor.name: values[tensor.name] for tensor in session.get_inputs()}
            results = dict(zip(names, session.run(names, given), strict=True))
            kept |= {name: results[name] for name in key.kept}
            values = {name: results[name] for name in key.outputs}
        return values | kept


@pytest.fixture(params=list(MODELS))
def named(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def served(named: str, tmp_path: Path) -> Iterator[Served]:
    made = Served(MODELS[named](), tmp_path)
    yield made
    made.catalogue.close()


def profile(card: ModelCard, device_class: str, seconds: float) -> DeviceProfile:
    """Each segment takes so many seconds."""
    times = {"meanSeconds": seconds, "p95Seconds": seconds}
    pairs = {
        pair: times
        for exit_ in card.exits
        for pair in pairwise([*(cut.tensor for cut in exit_.cuts), exit_.end])
    }
    wholes = [
        {
            "exit": exit_.name,
            "output": exit_.end,
            "meanSeconds": len(exit_.cuts) * seconds,
            "p95Seconds": len(exit_.cuts) * seconds,
        }
        for exit_ in card.exits
    ]
    segments = [{"from": start, "to": end, **found} for (start, end), found in pairs.items()]
    fields = {"model": card.digest, "deviceClass": device_class, "node": "n"}
    return DeviceProfile.model_validate({**fields, "segments": segments, "exits": wholes})


def planned(card: ModelCard, mode: Mode = "Auto") -> Plan:
    costs = {"camera": profile(card, "camera", 0.03), "cloud": profile(card, "cloud", 0.001)}
    plan = plan_entry(
        manifests.entry_problem(
            InferenceServiceSpec.model_validate(SPEC | {"mode": mode}),
            manifests.planned_model("m", card),
            costs,
            PoolMember(Node("edge-a", {}, ready=True), "camera"),
            remote="cloud",
            peer="cloud",
            rtt=0.001,
            bandwidth=None,
            stays=bool(card.local),
        )
    )
    assert isinstance(plan, Plan), plan
    return plan


@pytest.mark.parametrize("mode", ["Auto", "LocalOnly", "CloudOnly", "PartitionOnly"])
def test_the_routes_of_every_mode_give_all_outputs_of_the_file(
    served: Served, named: str, mode: Mode
) -> None:
    card = served.card()
    assert [(exit_.name, exit_.accuracy) for exit_ in card.exits] == [("final", None)]
    session = onnxruntime.InferenceSession(served.data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert [tensor.name for tensor in card.outputs] == names
    whole = dict(zip(names, session.run(names, FEEDS[named]), strict=True))
    routes = planned(card, mode).table.routes
    assert {route.accuracy for route in routes} == {1.0}
    for route in routes:
        found = served.through(pieces(card, route).keys, FEEDS[named])
        assert set(found) == set(names)
        for name in names:
            np.testing.assert_array_equal(found[name], whole[name], strict=True)


def test_every_cut_of_the_metadata_gives_all_outputs_of_the_file(served: Served, named: str) -> None:
    card = served.card()
    (exit_,) = card.exits
    session = onnxruntime.InferenceSession(served.data, providers=["CPUExecutionProvider"])
    whole = dict(zip(exit_.outputs, session.run(list(exit_.outputs), FEEDS[named]), strict=True))
    assert len(exit_.cuts) > 1
    for cut in exit_.cuts[1:]:
        keys = [
            SliceKey(card.digest, exit_.source, cut.names),
            SliceKey(card.digest, cut.names, exit_.outputs),
        ]
        found = served.through(keys, FEEDS[named])
        for name in exit_.outputs:
            np.testing.assert_array_equal(found[name], whole[name], strict=True)


def test_inputs_that_a_tail_needs_cross_with_their_bytes(tmp_path: Path) -> None:
    card = Served(voice(), tmp_path).card()
    cuts = {cut.names: cut.bytes for cut in card.exits[0].cuts}
    state, rate = 2 * 1 * 4 * 4, 8
    assert cuts["x", "state", "sr"] == 4 * 512 + state + rate
    assert cuts["state", "sr", "h"] == 4 * 4 + state + rate


def test_an_output_that_is_computed_before_a_cut_stays_there(tmp_path: Path) -> None:
    card = Served(detector(), tmp_path).card()
    cuts = {cut.names: cut for cut in card.exits[0].cuts}
    assert cuts["features",].bytes == 4 * 16
    assert cuts["features",].sent == ()
    assert cuts["boxes", "deep"].bytes == 4 * 6
    assert cuts["boxes", "deep"].sent == ("deep",)
    route = Route("final", "boxes+deep", 1.0, 1000, 0.0, 0.05, 0.001, 0.001, 192)
    made = pieces(card, route)
    assert (made.head, made.middle) == (SliceKey(card.digest, ("image",), ("deep",), kept=("boxes",)), None)
    assert made.tail == SliceKey(card.digest, ("deep",), ("scores", "labels"))
    assert made.cut == ("deep",)


def test_with_metadata_of_an_earlier_version_all_tensors_of_a_cut_cross(tmp_path: Path) -> None:
    card = Served(detector(), tmp_path).card()
    (exit_,) = card.exits
    before = tuple(cut.model_copy(update={"sent": ()}) for cut in exit_.cuts)
    card = card.model_copy(update={"exits": (exit_.model_copy(update={"cuts": before}),)})
    made = pieces(card, Route("final", "boxes+deep", 1.0, 1000, 0.0, 0.05, 0.001, 0.001, 320))
    assert made.head == SliceKey(card.digest, ("image",), ("boxes", "deep"))
    assert made.tail == SliceKey(card.digest, ("boxes", "deep"), exit_.outputs)


def test_a_kept_output_is_not_encoded(tmp_path: Path) -> None:
    served = Served(detector(), tmp_path)
    card = served.card()
    route = Route("final", "boxes+deep", 1.0, 1000, 0.0, 0.05, 0.001, 0.001, 80, "int8")
    head, tail = (
        served.catalogue.add_slice(
            {
                "model": key.model,
                "inputs": list(key.inputs),
                "outputs": list(key.outputs),
                "decode": key.decode,
                "encode": key.encode,
                "kept": list(key.kept),
            },
            served.holdings,
        )
        for key in pieces(card, route).keys
    )
    assert [tensor["name"] for tensor in head["outputs"]][-1] == "boxes"
    assert all(tensor["name"].startswith("deep:int8") for tensor in head["outputs"][:-1])
    assert [tensor["name"] for tensor in tail["inputs"]] == [t["name"] for t in head["outputs"][:-1]]
    assert [tensor["name"] for tensor in tail["outputs"]] == ["scores", "labels"]


def test_an_exit_can_be_some_outputs_with_names_of_its_own(tmp_path: Path) -> None:
    served = Served(detector(), tmp_path)
    exits = [
        {"name": "quick", "output": "boxes", "accuracy": 0.6, "responseNames": "Own"},
        {"name": "all", "outputs": ["boxes", "scores", "labels"], "accuracy": 0.9},
    ]
    card = served.card(exits)
    assert [(e.name, e.outputs, e.response_names) for e in card.exits] == [
        ("quick", ("boxes",), "Own"),
        ("all", ("boxes", "scores", "labels"), "Final"),
    ]
    with pytest.raises(BadRequest, match=mentions("model.exits[0].outputs", "boxes", "3", "Own")):
        served.card([{**exits[0], "responseNames": "Final"}, exits[1]])


def test_metadata_are_the_same_from_a_model_profile(served: Served) -> None:
    card = served.card()
    costs = [profile(card, "camera", 0.03)]
    spec = manifests.as_written(manifests.model_profile("m", card, costs))
    assert recorded.metadata(spec) == card
    measured = manifests.of_exits(manifests.device_profiles(spec)["camera"], card)
    assert [(e.exit, e.output) for e in measured.exits] == [("final", card.exits[0].end)]


def test_strings_stay_where_requests_arrive(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("StringNormalizer", ["words"], ["plain"], case_change_action="LOWER"),
        helper.make_node("Identity", ["plain"], ["result"]),
        helper.make_node("Tanh", ["x"], ["y"]),
    ]
    inputs = [info("words", "N", datatype="BYTES"), info("x", "N", 4)]
    outputs = [info("result", "M", datatype="BYTES"), info("y", "N", 4)]
    card = Served(model_of(nodes, inputs, outputs), tmp_path).card()
    assert mentions("input words", "strings").search(card.local)
    assert [route.cut for route in planned(card).table.routes] == [None]
