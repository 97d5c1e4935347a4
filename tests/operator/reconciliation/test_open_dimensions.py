"""Models whose inputs have open dimensions: their shapes, what is planned, and what is served until then."""

from typing import Any

import pytest

from edge_api import reasons
from edge_operator.pool.shapes import ENOUGH
from edge_operator.store_answers import CardShape, DeviceProfile, ProfileShape, UnknownSize
from edge_planning.request_shapes import RequestShape
from operator_objects import CARD, device_profile

SMALL, LARGE = (1, 1, 16, 16), (1, 1, 32, 32)
ADVICE = "inputs: [{name: image, shape: [1, 1, <H>, <W>]}]"
OPEN_INPUTS = tuple(each.model_copy(update={"shape": (-1, 1, -1, -1)}) for each in CARD.inputs)
UNKNOWN = CARD.model_copy(
    update={
        "inputs": OPEN_INPUTS,
        "exits": tuple(each.model_copy(update={"cuts": ()}) for each in CARD.exits),
        "unknown_sizes": (UnknownSize(input="image", dimension=2, symbol="H"),),
        "advice": ADVICE,
    }
)


def at_shapes(*shapes: tuple[int, ...], response: int = 0) -> Any:
    """The metadata with bytes of cuts that grow with the elements of the input."""
    most = 1
    for size in shapes[-1]:
        most *= size
    share = [RequestShape.of({"image": shape}).size / most for shape in shapes]
    exits = tuple(
        each.model_copy(
            update={
                "cuts": tuple(
                    cut.model_copy(update={"bytes_at": tuple(round(cut.bytes * part) for part in share)})
                    for cut in each.cuts
                ),
                "response_bytes": response,
                "response_bytes_at": tuple(round(response * part) for part in share),
            }
        )
        for each in CARD.exits
    )
    found = tuple(CardShape(inputs={"image": shape}) for shape in shapes)
    return CARD.model_copy(update={"inputs": OPEN_INPUTS, "exits": exits, "shapes": found})


def measured(device_class: str, scale: float, *shapes: tuple[int, ...]) -> DeviceProfile:
    """A profile whose times grow with the elements of the input."""
    most = RequestShape.of({"image": shapes[-1]}).size
    at = []
    for shape in shapes:
        found = device_profile(device_class, scale * RequestShape.of({"image": shape}).size / most)
        at.append(ProfileShape(inputs={"image": shape}, segments=found.segments, exits=found.exits))
    largest = device_profile(device_class, scale)
    return largest.model_copy(update={"shapes": tuple(at)})


def use(world: Any, card: Any, *shapes: tuple[int, ...]) -> None:
    world.store.card = card
    for device_class in list(world.store.profiles):
        scale = world.store.profiles[device_class].exits[-1].mean_seconds / (
            device_profile(device_class).exits[-1].mean_seconds
        )
        if shapes:
            world.store.profiles[device_class] = measured(device_class, scale, *shapes)
    world.change(model={"storageUri": "store://digits/open.onnx"})


def counts(*found: tuple[tuple[int, ...], int]) -> dict[str, Any]:
    shapes = [{"inputs": [{"name": "image", "shape": list(s)}], "count": count} for s, count in found]
    return {"shapes": shapes}


def test_until_shapes_are_known_the_service_is_served_locally_and_says_what_to_write(world: Any) -> None:
    use(world, UNKNOWN)
    world.settle()
    for kind in (reasons.PROFILED, reasons.PLANNED):
        condition = world.condition(kind)
        assert condition["reason"] == reasons.SHAPES_UNKNOWN
        assert f"spec.model.{ADVICE}" in condition["message"]
        assert "image dimension 2 (H)" in condition["message"]
    for body in world.placements().values():
        assert [route["name"] for route in body["spec"]["routes"]] == ["final@local"]
        assert "shapes" not in body["spec"]
    assert world.jobs() == []
    assert world.condition(reasons.READY)["status"] == "True"


def test_a_service_is_planned_for_the_largest_shape_that_is_stated(world: Any) -> None:
    use(world, at_shapes(SMALL, LARGE), SMALL, LARGE)
    world.settle()
    condition = world.condition(reasons.PLANNED)
    assert "planned for image=1x1x32x32" in condition["message"]
    for body in world.placements().values():
        shapes = body["spec"]["shapes"]
        assert shapes["planned"] == [{"name": "image", "shape": list(LARGE)}]
        assert [each["inputs"][0]["shape"] for each in shapes["measured"]] == [list(SMALL), list(LARGE)]
        for route in body["spec"]["routes"]:
            for stage in route["stages"]:
                assert len(stage["computeAt"]) == 2
                if stage["runtime"] == "Triton":
                    small, large = stage["bytesAt"]
                    assert large == pytest.approx(4 * small, abs=4)


def test_responses_count_with_their_bytes_at_each_shape_and_after_a_restart(world: Any) -> None:
    use(world, at_shapes(SMALL, LARGE), SMALL, LARGE)
    world.settle()
    without = {node: sent(body) for node, body in world.placements().items()}
    use(world, at_shapes(SMALL, LARGE, response=80_000), SMALL, LARGE)
    world.change(model={"storageUri": "store://digits/maps.onnx"})
    world.settle()
    assert any(without.values())
    for node, body in world.placements().items():
        for name, (small, large) in sent(body).items():
            if name in without[node]:
                assert (small, large) == (without[node][name][0] + 20_000, without[node][name][1] + 80_000)
    before = {node: body["spec"]["routes"] for node, body in world.placements().items()}
    world.restart()
    world.settle()
    assert {node: body["spec"]["routes"] for node, body in world.placements().items()} == before


def test_bytes_of_responses_that_the_file_does_not_tell_are_taken_from_measurements(world: Any) -> None:
    use(world, at_shapes(SMALL, LARGE), SMALL, LARGE)
    profiles = world.store.profiles
    for device_class, profile in list(profiles.items()):
        at = [
            each.model_copy(update={"exits": tuple(counted(e, number) for e in each.exits)})
            for number, each in enumerate(profile.shapes, 1)
        ]
        exits = tuple(counted(e, 2) for e in profile.exits)
        profiles[device_class] = profile.model_copy(update={"shapes": tuple(at), "exits": exits})
    world.settle()
    profile = next(b for (kind, *_), b in world.cluster.objects.items() if kind == "ModelProfile")
    recorded = profile["spec"]["model"]["exits"][-1]
    assert (recorded["responseBytes"], recorded["responseBytesAt"]) == (60_000, [30_000, 60_000])
    cuts = {cut["tensor"]: cut["bytesAt"] for cut in recorded["cuts"]}
    found = [(body, name) for body in world.placements().values() for name in sent(body) if "final@" in name]
    assert found
    for body, name in found:
        small, large = cuts[name.partition("@")[2]]
        assert sent(body)[name] == [small + 30_000, large + 60_000]


def counted(exit_: Any, shape: int) -> Any:
    """The time of an exit whose response has 30 kB at the first shape and twice as many at the second."""
    return exit_.model_copy(update={"response_bytes": 30_000 * shape if exit_.exit == "final" else 0})


def sent(placement: Any) -> dict[str, Any]:
    """The bytes that each route sends to Triton, at each shape."""
    return {
        route["name"]: stage["bytesAt"]
        for route in placement["spec"]["routes"]
        for stage in route["stages"]
        if stage["runtime"] == "Triton"
    }


def test_the_plan_follows_the_shapes_of_requests_at_the_percentile_of_the_slo(world: Any) -> None:
    use(world, at_shapes(SMALL, LARGE), SMALL, LARGE)
    world.settle()
    before = world.placements()["cam-1"]["spec"]["routes"][-1]["predictedLatency"]
    world.runtimes_report(**counts((SMALL, 20 * ENOUGH), (LARGE, 1)))
    world.reconcile()
    spec = world.placements()["cam-1"]["spec"]
    assert spec["shapes"]["planned"] == [{"name": "image", "shape": list(SMALL)}]
    assert "95th percentile" in world.condition(reasons.PLANNED)["message"]
    assert spec["routes"][-1]["predictedLatency"] != before


def test_shapes_of_the_first_requests_are_measured_where_none_are_stated(world: Any) -> None:
    use(world, UNKNOWN)
    world.settle()
    world.store.card = at_shapes(SMALL, LARGE)
    use_profiles = list(world.store.profiles)
    world.runtimes_report(**counts((SMALL, 3), (LARGE, 1)))
    for device_class in use_profiles:
        world.store.profiles[device_class] = measured(device_class, 1.0, SMALL, LARGE)
    world.reconcile()
    world.settle()
    assert world.store.registered[-1].inputs is not None
    (stated,) = world.store.registered[-1].inputs
    assert (stated.name, stated.max_shape, stated.typical_shape) == ("image", LARGE, SMALL)
    assert world.service()["status"]["model"]["inputs"][0]["maxShape"] == list(LARGE)
    assert world.condition(reasons.PROFILED)["status"] == "True"
    assert "planned for image=1x1x32x32" in world.condition(reasons.PLANNED)["message"]


def test_a_measurement_at_other_shapes_is_taken_again(world: Any) -> None:
    use(world, at_shapes(SMALL, LARGE), SMALL, (1, 1, 24, 24))
    world.reconcile()
    assert world.condition(reasons.PROFILED)["reason"] == reasons.PROFILING
    assert world.jobs()


def test_a_model_that_refuses_its_inputs_is_served_locally_and_says_what_to_write(world: Any) -> None:
    for device_class, profile in list(world.store.profiles.items()):
        update = {"segments": (), "exits": (), "refused": "the model refuses generated values (Div)"}
        world.store.profiles[device_class] = profile.model_copy(update=update)
    world.settle()
    condition = world.condition(reasons.PROFILED)
    assert condition["reason"] == reasons.INPUTS_REFUSED
    assert "the model refuses generated values (Div)" in condition["message"]
    assert "spec.model.samples" in condition["message"]
    for body in world.placements().values():
        assert [route["name"] for route in body["spec"]["routes"]] == ["final@local"]


def test_a_refusal_counts_for_the_shapes_at_which_the_model_was_tried(world: Any) -> None:
    use(world, at_shapes(SMALL, LARGE), SMALL, LARGE)
    refused = {"segments": (), "exits": (), "refused": "the model refuses generated values (LSTM)"}
    for device_class, profile in list(world.store.profiles.items()):
        nothing = [each.model_copy(update={"segments": (), "exits": ()}) for each in profile.shapes]
        found = profile.model_copy(update={**refused, "shapes": tuple(nothing)})
        world.store.profiles[device_class] = found
    world.settle()
    assert world.condition(reasons.PROFILED)["reason"] == reasons.INPUTS_REFUSED
    world.store.card = at_shapes(SMALL, (1, 1, 48, 48))
    world.change(model={"storageUri": "store://digits/others.onnx"})
    world.reconcile()
    assert world.condition(reasons.PROFILED)["reason"] == reasons.PROFILING


def test_the_shapes_outlive_a_restart_of_the_operator(world: Any) -> None:
    use(world, at_shapes(SMALL, LARGE), SMALL, LARGE)
    world.settle()
    before = {node: body["spec"] for node, body in world.placements().items()}
    world.restart()
    world.settle()
    for node, body in world.placements().items():
        assert body["spec"]["routes"] == before[node]["routes"]
        assert body["spec"]["shapes"] == before[node]["shapes"]
