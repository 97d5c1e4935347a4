"""The operator reads the measurements of a runtime for each of several services."""

import asyncio

import httpx
import onnx

from edge_api.model_sources import ModelSource
from edge_operator.pool import manifests
from edge_operator.store import ModelStore
from edge_operator.store_answers import DeviceProfile
from edge_runtime import model_store
from measuring import profiled


def source(*exits: tuple[str, str]) -> ModelSource:
    named = [{"name": name, "output": output, "accuracy": 0.9} for name, output in exits]
    return ModelSource.model_validate({"storageUri": "store://shared.onnx", "exits": named})


def test_exits_of_one_name_at_two_outputs_are_measured_and_read_each_as_what_it_is(
    store_url: str, model: bytes
) -> None:
    own = onnx.load_model_from_string(model)
    own.metadata_props.add(key="copy", value="with a digest, and so with exits, of its own")
    with httpx.Client() as connections:
        content = own.SerializeToString()
        connections.put(f"{store_url}/v1/files/shared.onnx", content=content).raise_for_status()
        store = ModelStore(store_url, connections)
        shallow = store.register(source(("whole", "early_logits")))
        deep = store.register(source(("quick", "early_logits"), ("whole", "logits")))
    measured = asyncio.run(profiled(model_store.ModelStore(store_url), deep.digest, "shared"))
    profile = DeviceProfile.model_validate(measured)
    outputs = [exit_.output for exit_ in profile.exits]
    assert sorted(outputs) == ["early_logits", "logits"]
    times = {exit_.output: exit_.mean_seconds for exit_ in profile.exits}
    for card in (shallow, deep):
        read = manifests.of_exits(profile, card)
        assert [(e.exit, e.output) for e in read.exits] == [(e.name, e.end) for e in card.exits]
        assert all(e.mean_seconds == times[e.output] for e in read.exits)
