"""Slices with codecs, of several tensors and of models with external data, over the store's API."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import pytest_asyncio

from benchmarks.graphs.small import camera_and_sensors
from edge_runtime.slicing.pinning import main as pin
from edge_runtime.store.app import StoreApp
from edge_runtime.store.reachable import reachable
from messages import mentions
from networks import run, with_noise


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    allowed = reachable(tmp_path / "store", [tmp_path / "home"], [])
    transport = httpx.ASGITransport(StoreApp(tmp_path / "store", 1 << 20, allowed))
    async with httpx.AsyncClient(transport=transport, base_url="http://store") as client:
        yield client


async def _kept(store: httpx.AsyncClient, model: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(model).hexdigest()}"
    assert (await store.put(f"/v1/blobs/{digest}", content=model)).status_code == 200
    return digest


async def _slice(store: httpx.AsyncClient, model: str, start: list[str], end: list[str], **more: Any) -> Any:
    request = {"model": model, "inputs": start, "outputs": end, **more}
    answer = await store.post("/v1/slices", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("codec", ["fp32", "fp16", "int8"])
async def test_a_head_that_encodes_and_a_tail_that_decodes_fit_together(
    store: httpx.AsyncClient, chain_model: bytes, codec: str
) -> None:
    model = await _kept(store, chain_model)
    head = await _slice(store, model, ["image"], ["pool1"], encode=codec)
    tail = await _slice(store, model, ["pool1"], ["logits"], decode=codec)
    assert head["outputs"] == tail["inputs"]
    names = {"fp32": ["pool1"], "fp16": ["pool1:fp16"]}
    assert [t["name"] for t in head["outputs"]] == names.get(
        codec, ["pool1:int8", "pool1:int8.scale", "pool1:int8.zero"]
    )
    images = {"image": np.random.default_rng(0).normal(size=(2, 1, 16, 16)).astype(np.float32)}
    head_data, tail_data = [(await store.get(f"/v1/blobs/{made['digest']}")).content for made in (head, tail)]
    whole = run(chain_model, images)["logits"]
    np.testing.assert_allclose(
        run(tail_data, run(head_data, images))["logits"], whole, atol=0.05 * np.ptp(whole)
    )


async def test_a_slice_is_another_with_every_codec_on_either_side(
    store: httpx.AsyncClient, chain_model: bytes
) -> None:
    model = await _kept(store, chain_model)
    plain = await _slice(store, model, ["pool1"], ["pool2"])
    assert await _slice(store, model, ["pool1"], ["pool2"], decode="fp32", encode="fp32") == plain
    digests = {plain["digest"]}
    for side in ("decode", "encode"):
        for codec in ("fp16", "int8"):
            digests.add((await _slice(store, model, ["pool1"], ["pool2"], **{side: codec}))["digest"])
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("change", "reason", "parts"),
    [
        ({"encode": "int4"}, "BadRequest", ('encode: "int4"', "fp32, fp16, int8")),
        ({"decode": 8}, "BadRequest", ("decode: 8", "codec")),
        ({"inputs": ["conv1"], "outputs": ["image"]}, "UnknownTensor", ("conv1", "from image")),
        ({"inputs": ["pool2"], "outputs": ["pool1"]}, "UnknownTensor", ("pool2", "from pool1")),
        ({"inputs": ["w1"]}, "UnknownTensor", ('"w1"', "constant")),
        ({"outputs": ["nope"]}, "UnknownTensor", ('"nope"', "tensor")),
    ],
)
async def test_what_is_not_a_slice_is_refused_with_a_message(
    store: httpx.AsyncClient, chain_model: bytes, change: dict[str, Any], reason: str, parts: tuple[str, ...]
) -> None:
    model = await _kept(store, chain_model)
    request = {"model": model, "inputs": ["pool1"], "outputs": ["logits"], **change}
    answer = await store.post("/v1/slices", json=request)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, reason)
    assert mentions(*parts).search(answer.json()["error"]["message"])


async def test_a_model_with_two_inputs_is_registered_and_validated_by_an_array_for_each(
    store: httpx.AsyncClient,
) -> None:
    data = with_noise(camera_and_sensors(16))
    model = await _kept(store, data)
    made = await _slice(store, model, ["picture", "readings"], ["shared"], encode="int8")
    assert [t["name"] for t in made["inputs"]] == ["picture", "readings"]
    await store.put("/v1/files/two.onnx", content=data)
    exits = [{"name": "label", "output": "label", "accuracy": 0.9}]
    metadata = await store.post("/v1/models", json={"storageUri": "store://two.onnx", "exits": exits})
    assert [tensor["name"] for tensor in metadata.json()["inputs"]] == ["picture", "readings"]
    file = io.BytesIO()
    np.savez(file, picture=np.zeros((100, 4), np.float32), labels=np.zeros(100, np.int64))
    await store.put("/v1/files/data.npz", content=file.getvalue())
    request = {"model": model, "exits": exits, "validation": {"storageUri": "store://data.npz"}}
    refused = await store.post("/v1/codecs", json=request)
    assert refused.status_code == 400
    assert mentions("validation", "readings").search(refused.text)


@pytest.fixture
def divided(tmp_path: Path, chain_model: bytes) -> Path:
    path = tmp_path / "home/chain.onnx"
    path.parent.mkdir()
    model = onnx.load_model_from_string(chain_model)
    onnx.save_model(model, path, save_as_external_data=True, location="chain.bin", size_threshold=0)
    return path


async def test_pinned_data_is_fetched_from_beside_the_model(
    store: httpx.AsyncClient, divided: Path, chain_model: bytes
) -> None:
    refused = await store.post("/v1/models", json={"storageUri": f"file://{divided}"})
    assert (refused.status_code, refused.json()["error"]["reason"]) == (400, "BadRequest")
    assert mentions("data", "outside").search(refused.text)
    assert pin([str(divided)]) == 0
    for name in ("chain.onnx", "chain.bin"):
        await store.put(f"/v1/files/d/{name}", content=(divided.parent / name).read_bytes())
    for uri in (f"file://{divided}", "store://d/chain.onnx"):
        metadata = (await store.post("/v1/models", json={"storageUri": uri})).json()
        tail = await _slice(store, metadata["digest"], ["image"], ["logits"])
        data = (await store.get(f"/v1/blobs/{tail['digest']}")).content
        images = {"image": np.random.default_rng(0).normal(size=(2, 1, 16, 16)).astype(np.float32)}
        assert run(data, images)["logits"].tobytes() == run(chain_model, images)["logits"].tobytes()


async def test_data_that_is_not_what_was_pinned_is_refused(store: httpx.AsyncClient, divided: Path) -> None:
    assert pin([str(divided)]) == 0
    (divided.parent / "chain.bin").write_bytes(b"other")
    answer = await store.post("/v1/models", json={"storageUri": f"file://{divided}"})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (422, "DigestMismatch")
    assert "model's data chain.bin: expected sha256:" in answer.text


async def test_data_behind_a_link_out_of_the_folder_is_not_fetched(
    store: httpx.AsyncClient, divided: Path
) -> None:
    assert pin([str(divided)]) == 0
    data = divided.parent / "chain.bin"
    data.rename(divided.parent.parent / "elsewhere.bin")
    data.symlink_to(divided.parent.parent / "elsewhere.bin")
    answer = await store.post("/v1/models", json={"storageUri": f"file://{divided}"})
    assert answer.status_code == 400
    assert mentions("chain.bin", "link", "folder").search(answer.text)
