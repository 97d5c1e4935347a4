"""A model with two branches: routes use cuts that its metadata does not list.

The layers alternate in the file (a1, b1, a2, b2, a3, b3), so no listed cut is behind the whole of branch a
and in front of the heavy layer b2.
"""

from typing import Any

import pytest

from edge_operator.store_answers import DeviceProfile, LayerGraph, ModelCard

SIZES = {"image": 60_000, "a1": 40_000, "b1": 600, "a2": 40_000, "b2": 600, "a3": 500, "b3": 600}
FLOPS = {"a1": 1e6, "b1": 1e6, "a2": 1e6, "b2": 40e6, "a3": 1e6, "b3": 40e6, "logits": 0.0}
LISTED = (("image",), ("a2", "b1"), ("a3", "b2"))
READS = {
    "a1": ["image"],
    "b1": ["image"],
    "a2": ["a1"],
    "b2": ["b1"],
    "a3": ["a2"],
    "b3": ["b2"],
    "logits": ["a3", "b3"],
}
BEFORE = {"image": (), "a2+b1": ("a1", "b1", "a2"), "a3+b2": ("a1", "b1", "a2", "b2", "a3")}


def card(final: dict[str, Any]) -> ModelCard:
    return ModelCard.model_validate({**final, "exits": [{**final["exits"][1], "cuts": cuts()}]})


def cuts() -> list[dict[str, Any]]:
    return [
        {"tensor": "+".join(names), "tensors": names, "bytes": sum(SIZES[name] for name in names)}
        for names in LISTED
    ]


def profile(device_class: str, digest: str, flops_per_second: float) -> DeviceProfile:
    names = ["image", "a2+b1", "a3+b2", "logits"]
    totals = [*(sum(FLOPS[name] for name in BEFORE[cut]) for cut in names[:3]), sum(FLOPS.values())]
    segments = [
        {
            "from": a,
            "to": b,
            "meanSeconds": (y - x) / flops_per_second,
            "p95Seconds": (y - x) / flops_per_second,
        }
        for a, b, x, y in zip(names, names[1:], totals, totals[1:], strict=False)
    ]
    whole = totals[-1] / flops_per_second
    exits = [{"exit": "final", "output": "logits", "meanSeconds": whole, "p95Seconds": whole}]
    return DeviceProfile.model_validate(
        {"model": digest, "deviceClass": device_class, "node": "n", "segments": segments, "exits": exits}
    )


def layers() -> LayerGraph:
    return LayerGraph.model_validate(
        {
            "inputs": ["image"],
            "outputs": ["logits"],
            "layers": [
                {"name": name, "kind": "conv", "inputs": reads, "outputs": [name], "flops": FLOPS[name]}
                for name, reads in READS.items()
            ],
            "tensors": [{"name": name, "bytes": size} for name, size in {**SIZES, "logits": 40}.items()],
        }
    )


@pytest.fixture
def branched(world: Any) -> Any:
    world.store.card = card(world.store.card.model_dump())
    world.store.graph = layers()
    for name, speed in (("camera", 5e8), ("gateway", 5e8), ("cloud", 5e10)):
        world.store.profiles[name] = profile(name, world.store.card.digest, speed)
    world.change(slo={"latency": "60ms"})
    return world


def routes(world: Any) -> dict[str, Any]:
    return {route["name"]: route for route in world.placements()["cam-1"]["spec"]["routes"]}


def test_a_route_uses_a_cut_that_the_metadata_does_not_list(branched: Any) -> None:
    branched.settle()
    found = routes(branched)["final@a3+b1"]
    assert found["cutTensors"] == ["a3", "b1"]
    head, tail = found["stages"]
    assert [tensor["name"] for tensor in head["slice"]["outputs"]] == ["a3", "b1"]
    assert [tensor["name"] for tensor in tail["slice"]["inputs"]] == ["a3", "b1"]
    assert "a3+b1" not in {cut.tensor for exit_ in branched.store.card.exits for cut in exit_.cuts}


def test_without_the_layers_only_listed_cuts_are_used(branched: Any) -> None:
    branched.store.graph = None
    branched.settle()
    listed = {cut.tensor for exit_ in branched.store.card.exits for cut in exit_.cuts} | {"local"}
    assert {route["cut"] for route in routes(branched).values()} <= listed


def test_the_same_cuts_are_found_after_a_restart_and_by_explain(branched: Any) -> None:
    branched.settle()
    before = {node: body["spec"] for node, body in branched.placements().items()}
    branched.restart()
    branched.settle()
    assert {node: body["spec"] for node, body in branched.placements().items()} == before
    entry = next(e for e in branched.explained().entries if e.node == "cam-1")
    assert {route.name for route in entry.routes} == set(routes(branched))


def test_a_store_that_knows_the_model_no_more_gets_its_address_and_tells_the_layers_later(
    branched: Any,
) -> None:
    """Its volume was lost after the model was registered."""
    known, branched.store.graph = branched.store.graph, None
    branched.settle()
    assert "final@a3+b1" not in routes(branched)
    branched.store.registered.clear()
    branched.reconcile()
    assert {source.storage_uri for source in branched.store.registered} == {"store://digits/digits.onnx"}
    branched.store.graph = known
    branched.settle()
    assert "final@a3+b1" in routes(branched)
    branched.store.registered.clear()
    branched.restart()
    branched.settle()
    assert branched.store.registered == [], "the ModelProfile has the cuts"


def test_layers_that_do_not_fit_the_metadata_are_ignored(branched: Any) -> None:
    document = layers().model_dump(by_alias=True)
    branched.store.graph = LayerGraph.model_validate({**document, "layers": document["layers"][2:]})
    branched.settle()
    assert branched.condition("Planned")["status"] == "True"
    assert "final@a3+b1" not in routes(branched)
