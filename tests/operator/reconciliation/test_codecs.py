"""Plans use codecs once their accuracy is measured, and not before."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from edge_api import reasons
from edge_api.model_sources import Validation
from edge_operator.effects.needs import MEASURING
from edge_operator.errors import StoreError
from edge_operator.pool.codecs import usable_codecs
from edge_operator.store_answers import CodecAccuracies

MODEL: dict[str, Any] = {
    "storageUri": "store://digits/digits.onnx",
    "validation": {"storageUri": "store://digits/heldout.npz"},
}


SIZES = {"fp32": 1.0, "fp16": 0.5, "int8": 0.25}  # of the fp32 bytes


def measured(
    card: Any, sizes: Mapping[str, float] = MappingProxyType(SIZES), **losses: float
) -> CodecAccuracies:
    """Accuracies of every exit and cut in the metadata, on 500 samples, from the loss by codec."""
    entries = []
    for exit_ in card.exits:
        for cut in exit_.cuts:
            for codec, ratio in sizes.items():
                accuracy = exit_.accuracy - losses.get(codec, 0.0)
                size = int(cut.bytes * ratio) + (5 if codec == "int8" else 0)
                entries.append(
                    {
                        "exit": exit_.name,
                        "cut": [cut.tensor],
                        "codec": codec,
                        "bytes": size,
                        "accuracy": accuracy,
                    }
                )
    return CodecAccuracies.model_validate({"complete": True, "samples": 500, "measured": entries})


def routes(world: Any) -> dict[str, Any]:
    return {route["name"]: route for route in world.placements()["cam-1"]["spec"]["routes"]}


def test_without_data_activations_cross_as_they_are(world: Any) -> None:
    world.settle()
    assert not [line for line in world.log if line.startswith("codecs")]
    assert {codec for route in routes(world).values() for codec in route.get("codecs", [])} == {"fp32"}


def test_a_codec_that_costs_nothing_is_used_and_its_slices_fit_together(world: Any) -> None:
    world.store.accuracies = measured(world.store.card)
    world.change(model=MODEL)
    world.settle()
    found = [route for name, route in routes(world).items() if name.endswith(":int8")]
    assert found
    for route in found:
        assert route["codecs"] == ["int8"]
        head, tail = route["stages"]
        assert head["slice"]["outputs"] == tail["slice"]["inputs"]
        assert head["slice"]["outputs"][0]["name"] == f"{route['cutTensors'][0]}:int8"
        assert route["accuracy"] == next(
            e.accuracy for e in world.store.card.exits if e.name == route["exit"]
        )


def test_a_codec_with_a_scale_per_channel_reaches_the_routes_of_a_placement(world: Any) -> None:
    sizes = {**SIZES, "int8-per-channel": 0.26}
    world.store.accuracies = measured(world.store.card, sizes, int8=0.02)
    world.change(model=MODEL)
    world.settle()
    found = [route for route in routes(world).values() if route.get("codecs") == ["int8-per-channel"]]
    assert found
    for route in found:
        head, tail = route["stages"]
        (cut,) = route["cutTensors"]
        assert head["slice"]["outputs"] == tail["slice"]["inputs"]
        assert head["slice"]["outputs"][0]["name"] == f"{cut}:int8-per-channel"
        assert route["name"].endswith(":int8-per-channel")


def test_a_codec_that_a_cut_cannot_carry_is_not_planned_there_and_the_condition_says_why(world: Any) -> None:
    found = measured(world.store.card)
    refusal = {"cut": ["pool1"], "codec": "int8", "why": "at batch 2 logits is off by 0.8 of its range"}
    world.store.accuracies = CodecAccuracies.model_validate(
        {
            "complete": True,
            "samples": 500,
            "measured": [m for m in found.measured if (m.cut_name, m.codec) != ("pool1", "int8")],
            "refused": [refusal, {**refusal, "codec": "fp16"}],
        }
    )
    world.change(model=MODEL)
    world.settle()
    assert not [name for name in routes(world) if name.endswith("pool1:int8")]
    message = world.condition("Planned")["message"]
    assert all(part in message for part in ("int8", "pool1", str(refusal["why"]), "1 more"))


def test_what_a_codec_loses_is_taken_from_the_accuracy_of_its_routes(world: Any) -> None:
    world.store.accuracies = measured(world.store.card, int8=0.02, fp16=0.5)
    world.change(model=MODEL)
    world.settle()
    lossy = [route for name, route in routes(world).items() if name.startswith("final@") and ":int8" in name]
    assert [route["accuracy"] for route in lossy] == [0.96] * len(lossy)
    assert not [name for name in routes(world) if ":fp16" in name]


def test_until_it_is_measured_hops_carry_fp32_and_the_condition_says_why(world: Any) -> None:
    world.change(model=MODEL)
    world.reconcile()
    assert MEASURING in world.actions.resting.values()
    assert not [name for name in routes(world) if ":" in name]
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("True", reasons.MEASURING_CODECS)
    world.store.accuracies = measured(world.store.card)
    world.settle()
    assert [name for name in routes(world) if name.endswith(":int8")]
    assert world.condition("Planned")["reason"] == reasons.PLANNED_AS_ASKED
    asked = len([line for line in world.log if line.startswith("codecs")])
    world.settle()
    assert len([line for line in world.log if line.startswith("codecs")]) == asked


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            StoreError("BadRequest", "validation: 20 samples tell nothing; give at least 100"),
            "spec.model.validation: 20 samples tell nothing; give at least 100",
        ),
        (
            StoreError("NotFound", 'path: no file "digits/heldout.npz" in this store'),
            (
                'spec.model.validation.storageUri: "store://digits/heldout.npz": '
                'no file "digits/heldout.npz" in this store'
            ),
        ),
    ],
)
def test_bad_data_is_a_condition_and_the_active_routes_keep_serving(
    world: Any, error: StoreError, message: str
) -> None:
    world.settle()
    before = world.placements()
    world.store.accuracies = error
    world.change(model=MODEL)
    world.reconcile()
    condition = world.condition("ModelReady")
    assert (condition["status"], condition["reason"], condition["message"]) == (
        "False",
        error.reason,
        message,
    )
    assert world.placements() == before


def test_a_cut_where_a_codec_saves_nothing_is_not_used_with_it(world: Any) -> None:
    found = measured(world.store.card)
    whole = {(m.exit, m.cut_name): m.bytes for m in found.measured if m.codec == "fp32"}
    measured_so = tuple(
        m.model_copy(update={"bytes": whole[m.exit, m.cut_name]}) if m.cut_name == "image" else m
        for m in found.measured
    )
    codecs = usable_codecs(found.model_copy(update={"measured": measured_so}))
    assert [codec.name for codec in codecs] == ["fp32", "fp16", "int8"]
    assert {place for codec in codecs for place in codec.at or ()} == {
        ("exit1", "pool1"),
        ("final", "pool1"),
        ("final", "pool2"),
    }


def test_the_metric_of_the_validation_data_reaches_the_store_and_the_profile(world: Any) -> None:
    asked: list[Validation] = []
    answer = measured(world.store.card).model_copy(update={"metric": "Agreement"})

    def codecs(_: object, validation: Validation) -> CodecAccuracies:
        asked.append(validation)
        return answer

    world.store.codecs = codecs
    world.change(model=MODEL | {"validation": MODEL["validation"] | {"metric": "Agreement"}})
    world.settle()
    assert asked[0].metric == "Agreement"
    profile = next(b for (kind, *_), b in world.cluster.objects.items() if kind == "ModelProfile")
    assert profile["spec"]["metric"] == "Agreement"
    world.change(model=MODEL)
    world.settle()
    assert asked[-1].metric is None
