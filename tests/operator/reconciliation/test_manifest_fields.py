"""Fields of the manifests that change the plan: from the YAML to the routes of the Placements."""

from typing import Any

import pytest
import yaml

from edge_api import reasons
from edge_api.quantities import parse_quantity
from edge_operator.store_answers import CodecAccuracies, ModelCard
from edge_planning.costs.energy import LTE
from messages import mentions

FAST_CLOUD = "slo: {latency: 60ms}"  # the cameras take 120 ms for the full model


def change(world: Any, text: str) -> None:
    world.change(**yaml.safe_load(text))
    world.settle()


def routes(world: Any, node: str = "cam-1") -> list[Any]:
    found: list[Any] = world.placements()[node]["spec"]["routes"]
    return found


def sent(world: Any, node: str = "cam-1") -> set[str]:
    """The tensors that leave a node by any route."""
    return {name for route in routes(world, node) for name in route.get("cutTensors", [])}


def test_without_privacy_the_input_is_sent_if_that_is_the_fastest(world: Any) -> None:
    change(world, FAST_CLOUD)
    assert "image" in sent(world)
    assert world.placements()["cam-1"]["spec"]["privacy"] == "Any"


def test_an_input_that_stays_local_is_in_no_route_and_activations_still_are(world: Any) -> None:
    change(world, "privacy: InputStaysLocal\n" + FAST_CLOUD)
    for node in ("cam-1", "cam-2", "gate"):
        assert world.placements()[node]["spec"]["privacy"] == "InputStaysLocal"
        assert "image" not in sent(world, node)
    assert sent(world)


def test_a_copy_of_the_input_stays_local_too(world: Any) -> None:
    card = world.store.card.model_dump()
    world.store.card = ModelCard.model_validate({**card, "input_copies": ["image", "pool1"]})
    change(world, "privacy: InputStaysLocal\n" + FAST_CLOUD)
    assert sent(world) <= {"pool2"}
    profile = next(b for (kind, _, _), b in world.cluster.objects.items() if kind == "ModelProfile")
    assert profile["spec"]["model"]["inputCopies"] == ["image", "pool1"]


def test_local_privacy_leaves_only_local_routes(world: Any) -> None:
    change(world, "privacy: Local")
    for node in ("cam-1", "gate"):
        assert {stage["place"] for route in routes(world, node) for stage in route["stages"]} == {node}
    assert not world.triton.models


def test_a_local_service_that_cannot_be_fast_enough_is_infeasible_and_the_message_names_privacy(
    world: Any,
) -> None:
    change(world, "privacy: Local\nslo: {latency: 60ms, minAccuracy: 0.95}")
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", reasons.INFEASIBLE)
    assert 'spec.privacy: "Local"' in planned["message"]
    assert 'with "Any", ' in planned["message"]


@pytest.mark.parametrize("privacy", ["InputStaysLocal", "Local"])
def test_a_service_without_privacy_is_planned_as_before_once_it_is_removed(world: Any, privacy: str) -> None:
    world.settle()
    before = routes(world)
    change(world, f"privacy: {privacy}")
    change(world, "privacy: Any")
    assert routes(world) == before


def test_a_throughput_that_the_node_cannot_sustain_alone_moves_the_cut(world: Any) -> None:
    change(world, "slo: {latency: 400ms}")
    assert [route["name"] for route in routes(world)][-2:] == ["final@local", "exit1@local"]
    change(world, "slo: {latency: 400ms, throughput: 20}")
    found = {route["name"]: route for route in routes(world)}
    # At 20 requests/s, 120 ms for the full model and 70 ms before pool2 are too much, 20 and 30 ms are not.
    assert {"final@pool1", "exit1@local"} <= set(found)
    assert not {"final@local", "final@pool2"} & set(found)
    least = 20 * 8 * 4096 / 0.8
    assert parse_quantity(found["final@pool1"]["minBandwidth"]) >= least


def test_a_throughput_beyond_every_node_is_refused_with_what_binds(world: Any) -> None:
    change(world, "{slo: {latency: 400ms}, load: {rate: 2000}}")
    assert world.placements() == {}
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", reasons.DOES_NOT_FIT)
    assert mentions("Triton server cloud", "spec.load.rate").search(planned["message"])


def test_triton_is_planned_with_the_requests_of_all_entry_nodes(world: Any) -> None:
    """Three entry nodes: at 60 requests/s each, 6 ms at Triton are too much, at 40 they are not."""
    for rate, in_triton in ((40, True), (60, False)):
        change(world, f"{{mode: CloudOnly, slo: {{latency: 400ms}}, load: {{rate: {rate}}}}}")
        assert (world.condition("Planned")["reason"] == reasons.PLANNED_AS_ASKED) is in_triton


def test_declared_watts_and_radio_give_the_joules_of_each_candidate(world: Any) -> None:
    pool = world.pool()
    pool["spec"]["nodes"][1] |= {"watts": 2.5, "radio": "LTE"}
    world.cluster.put(pool)
    world.settle()
    entries = {e.node: e for e in world.explained().entries}
    joules = {w.name: w.joules for w in entries["cam-1"].weighed}
    assert joules["final@local"] == pytest.approx(2.5 * 0.12)
    bandwidth = entries["cam-1"].bandwidth
    sending = 8 * 16384 * (LTE.watts_per_bit + LTE.base / bandwidth)
    assert joules["final@image"] == pytest.approx(sending, rel=1e-3)
    assert all(weighed.joules is None for weighed in entries["gate"].weighed)


CONFIDENT = """
model:
  storageUri: store://digits/digits.onnx
  validation: {storageUri: store://digits/heldout.npz}
slo: {latency: 60ms}
earlyExit: {mode: Confidence, threshold: 0.85}
"""


def leaving(threshold: float, share: float) -> dict[str, Any]:
    exits = [
        {"exit": "exit1", "share": share, "accuracy": 0.97},
        {"exit": "final", "share": 1 - share, "accuracy": 0.9},
    ]
    return {"threshold": threshold, "exits": exits}


def measured(world: Any, *confidences: dict[str, Any]) -> None:
    plain = [
        {"exit": e.name, "cut": [c.tensor], "codec": "fp32", "bytes": c.bytes, "accuracy": e.accuracy}
        for e in world.store.card.exits
        for c in e.cuts
    ]
    world.store.accuracies = CodecAccuracies.model_validate(
        {"complete": True, "samples": 500, "measured": plain, "confidences": confidences}
    )


def test_measured_confidences_let_the_full_model_answer_locally_within_the_slo(world: Any) -> None:
    """Of 100 inputs 97 leave after 30 ms; the 120 ms of the others do not count at p95."""
    measured(world, leaving(0.8, 0.99), leaving(0.9, 0.97), leaving(0.99, 0.5))
    change(world, CONFIDENT)
    last = routes(world)[-1]
    assert (last["name"], last["cut"]) == ("final?0.85@local", "local")
    assert last["accuracy"] == pytest.approx(0.97 * 0.97 + 0.03 * 0.9)
    entry = next(e for e in world.explained().entries if e.node == "cam-1")
    assert {route.name for route in entry.routes} == {route["name"] for route in routes(world)}


@pytest.mark.parametrize(
    "change_of",
    [
        "earlyExit: {mode: Planned}",
        "earlyExit: {mode: Confidence, threshold: 0.999}",
        "slo: {latency: 60ms, minAccuracy: 0.9}",
    ],
)
def test_confidences_that_do_not_apply_change_no_plan(world: Any, change_of: str) -> None:
    measured(world, leaving(0.9, 0.97))
    world.change(**yaml.safe_load(CONFIDENT) | yaml.safe_load(change_of))
    world.settle()
    assert not [route["name"] for route in routes(world) if "?" in route["name"]]


def test_a_declared_rate_is_in_the_placements_and_without_one_there_is_none(world: Any) -> None:
    change(world, "load: {rate: 0.5}")
    assert {node: each["spec"].get("rate") for node, each in world.placements().items()} == dict.fromkeys(
        world.placements(), 0.5
    )
    change(world, "load: null")
    assert all("rate" not in each["spec"] for each in world.placements().values())
