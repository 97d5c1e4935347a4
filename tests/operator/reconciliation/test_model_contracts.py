"""Models of several inputs and outputs, without accuracies, and with strings."""

from itertools import pairwise
from typing import Any

from edge_operator.cluster import MODEL_PROFILES
from edge_operator.store_answers import DeviceProfile, ModelCard
from messages import mentions

World = Any  # tests/operator/conftest.py


def with_exits(card: ModelCard, *exits: dict[str, Any], local: str = "") -> ModelCard:
    """Metadata of a detector with a picture and a rate, of which the layers behind pool1 need the rate."""
    picture, rate = (
        {"name": "picture", "datatype": "FP32", "shape": [-1, 256]},
        {"name": "rate", "datatype": "INT64", "shape": []},
    )
    boxes, scores = ({"name": name, "datatype": "FP32", "shape": [-1, 4]} for name in ("boxes", "scores"))
    cuts = [
        {"tensor": "picture+rate", "tensors": ["picture", "rate"], "bytes": 1032},
        {"tensor": "rate+pool1", "tensors": ["rate", "pool1"], "bytes": 264},
    ]
    document = {
        "digest": card.digest,
        "inputs": [picture, rate],
        "exits": [
            {
                "tensors": [{"boxes": boxes, "scores": scores}[name] for name in exit_["outputs"]],
                "cuts": cuts,
                **exit_,
            }
            for exit_ in exits
        ],
        "local": local,
    }
    return ModelCard.model_validate(document)


def profile(card: ModelCard, device_class: str, scale: float) -> DeviceProfile:
    """Segments of 50 ms on a camera, but 5 ms to the boxes alone."""
    segments = {}
    exits = []
    for exit_ in card.exits:
        total = 0.0
        for start, end in pairwise([*(cut.tensor for cut in exit_.cuts), exit_.end]):
            seconds = scale * (0.005 if end == "boxes" else 0.05)
            total += seconds
            times = {"meanSeconds": seconds, "p95Seconds": seconds, "runs": 9}
            segments[start, end] = {"from": start, "to": end, **times}
        whole = {"meanSeconds": total, "p95Seconds": total, "runs": 9}
        exits.append({"exit": exit_.name, "output": exit_.end, **whole})
    fields = {"model": card.digest, "deviceClass": device_class, "node": "n", "exits": exits}
    return DeviceProfile.model_validate({**fields, "segments": list(segments.values())})


def serve(world: World, card: ModelCard, latency: str = "150ms") -> None:
    world.store.card = card
    for name, before in list(world.store.profiles.items()):
        scale = 0.01 if before.device_class == "cloud" else 1.0
        world.store.profiles[name] = profile(card, before.device_class, scale)
    world.change(slo={"latency": latency})
    world.settle()


FINAL = {"name": "final", "outputs": ["boxes", "scores"], "accuracy": None}


def routes(world: World) -> dict[str, dict[str, Any]]:
    return {route["name"]: route for body in world.placements().values() for route in body["spec"]["routes"]}


def test_a_model_without_an_accuracy_is_planned_with_1_and_the_status_tells_it(world: World) -> None:
    serve(world, with_exits(world.store.card, FINAL))
    ready = world.condition("ModelReady")
    assert ready["status"] == "True"
    assert mentions("final", "no accuracy stated", "1").search(ready["message"])
    assert world.condition("Planned")["status"] == "True"
    assert {route["accuracy"] for route in routes(world).values()} == {1.0}


def test_a_placement_has_all_inputs_and_outputs_and_a_cut_what_its_tail_needs(world: World) -> None:
    serve(world, with_exits(world.store.card, FINAL))
    (body, *_) = world.placements().values()
    model = body["spec"]["model"]
    assert [tensor["name"] for tensor in model["inputs"]] == ["picture", "rate"]
    assert [tensor["name"] for tensor in model["outputs"]] == ["boxes", "scores"]
    remote = [route for route in routes(world).values() if route["cut"] != "local"]
    assert remote
    for route in remote:
        sent = [tensor["name"] for tensor in route["stages"][-1]["slice"]["inputs"]]
        assert sent == route["cutTensors"]
        assert "rate" in sent
        outputs = [tensor["name"] for tensor in route["stages"][-1]["slice"]["outputs"]]
        assert (outputs, route.get("outputs")) == (["boxes", "scores"], None)


def test_an_exit_that_keeps_its_names_has_them_in_its_routes(world: World) -> None:
    quick = {"name": "quick", "outputs": ["boxes"], "accuracy": 0.7, "responseNames": "Own"}
    serve(world, with_exits(world.store.card, quick, FINAL | {"accuracy": 0.9}), latency="80ms")
    found = {route["exit"]: route.get("outputs") for route in routes(world).values()}
    assert found["quick"] == [{"name": "boxes", "tensor": "boxes"}]
    assert found.get("final") is None


def test_metadata_of_several_outputs_survive_a_restart(world: World) -> None:
    card = with_exits(world.store.card, FINAL)
    serve(world, card)
    before = {node: body["spec"] for node, body in world.placements().items()}
    world.restart()
    world.log.clear()
    world.reconcile()
    assert world.log == []
    assert {node: body["spec"] for node, body in world.placements().items()} == before


def test_a_model_with_strings_is_served_locally_with_the_reason(world: World) -> None:
    serve(world, with_exits(world.store.card, FINAL, local="model: input words contains strings"))
    assert mentions("input words", "strings").search(world.condition("ModelReady")["message"])
    assert {route["cut"] for route in routes(world).values()} == {"local"}


def test_a_model_with_strings_cannot_be_served_by_mode_cloud_only(world: World) -> None:
    world.change(mode="CloudOnly")
    serve(world, with_exits(world.store.card, FINAL, local="model: input words contains strings"))
    ready = world.condition("ModelReady")
    assert (ready["status"], ready["reason"]) == ("False", "BadRequest")
    assert mentions("spec.mode", '"CloudOnly"', "input words").search(ready["message"])


def test_a_profile_and_a_table_of_an_earlier_version_are_read(world: World) -> None:
    """They name one output; nothing is measured or fetched again, and the same routes are served."""
    world.settle()
    before = {node: body["spec"]["routes"] for node, body in world.placements().items()}
    for kind in (world.placements().values(), world.cluster.find(MODEL_PROFILES, "default")):
        for body in kind:
            model = dict(body["spec"]["model"])
            (model["output"],) = model.pop("outputs")
            world.cluster.put(body | {"spec": body["spec"] | {"model": model}})
    world.restart()
    world.log.clear()
    world.reconcile()
    assert not [entry for entry in world.log if entry.startswith(("register", "Job"))]
    assert world.jobs() == []
    assert {node: body["spec"]["routes"] for node, body in world.placements().items()} == before
    assert world.condition("Planned")["status"] == "True"
