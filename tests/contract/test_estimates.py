"""The operator reads estimates of the model store for models that were never measured on a device class."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import onnx
import pytest

from edge_api.model_sources import ModelSource
from edge_operator.pool import manifests
from edge_operator.store import ModelStore
from edge_operator.store_answers import ModelCard
from edge_runtime import model_store
from edge_runtime.store.estimates import LEAST_MODELS
from measuring import SELECTION, profiled

CLASS = "estimated"


def _registered(store_url: str, connections: httpx.Client, model: bytes, name: str) -> ModelCard:
    own = onnx.load_model_from_string(model)
    own.metadata_props.add(key="copy", value=f"{name}, with a digest of its own")
    content = own.SerializeToString()
    connections.put(f"{store_url}/v1/files/{name}.onnx", content=content).raise_for_status()
    source = ModelSource.model_validate({"storageUri": f"store://{name}.onnx"})
    return ModelStore(store_url, connections).register(source)


async def _copied(url: str, profile: dict[str, Any], digests: Sequence[str]) -> None:
    """Stores a DeviceProfile for other models, too."""
    store = model_store.ModelStore(url)
    for digest in digests:
        await store.put_profile(profile | {"model": digest})
    store.close()


def test_a_model_is_estimated_from_others_that_were_measured_on_the_class(
    store_url: str, model: bytes
) -> None:
    with httpx.Client() as connections:
        store = ModelStore(store_url, connections)
        first = _registered(store_url, connections, model, "first")
        second = _registered(store_url, connections, model, "second")
        assert store.estimate(second.digest, SELECTION, CLASS) is None
        measured = asyncio.run(profiled(model_store.ModelStore(store_url), first.digest, CLASS))
        others = [
            _registered(store_url, connections, model, f"other-{n}").digest for n in range(LEAST_MODELS - 1)
        ]
        asyncio.run(_copied(store_url, measured, others[1:]))
        assert store.estimate(second.digest, SELECTION, CLASS) is None
        asyncio.run(_copied(store_url, measured, others[:1]))
        estimate = store.estimate(second.digest, SELECTION, CLASS)
    assert estimate is not None
    assert estimate.estimated is not None
    assert estimate.estimated.models == LEAST_MODELS
    assert (estimate.model, estimate.selection, estimate.device_class) == (second.digest, SELECTION, CLASS)
    planned = manifests.class_profile(manifests.of_exits(estimate, second))
    for exit_ in manifests.planned_model("second", second).exits:
        assert sum(planned.means(exit_)) == pytest.approx(planned.whole(exit_))
        assert planned.margin(exit_, 95) > 1
    # The other models have the same operators: only the noise of its measurement is between them.
    whole = sum(each["seconds"] * each["count"] for each in measured["operators"]["observed"])
    assert estimate.exits[-1].mean_seconds == pytest.approx(
        whole + measured["operators"]["callSeconds"], rel=0.7
    )


def test_a_class_without_measurements_has_no_estimate(store_url: str, model: bytes) -> None:
    with httpx.Client() as connections:
        card = _registered(store_url, connections, model, "third")
        assert ModelStore(store_url, connections).estimate(card.digest, SELECTION, "never-measured") is None
