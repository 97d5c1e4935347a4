"""A store that requires tokens: each namespace sees what it uploaded and registered, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest
import pytest_asyncio

from edge_runtime.errors import Unauthenticated
from edge_runtime.slicing.pinning import main as pin
from edge_runtime.store.app import StoreApp
from edge_runtime.store.callers import Account, TokenHolders, parsed_account
from messages import mentions

LIMIT = 1 << 20
OPERATOR, PROFILER = (
    Account("edge-intelligence", "edge-operator"),
    Account("edge-intelligence", "edge-profiler"),
)
ACCOUNTS = {
    "operator": OPERATOR,
    "profiler": PROFILER,
    "shop": Account("shop", "default"),
    "shop-runtime": Account("shop", "edge-runtime"),
    "shop-edge-a": Account("shop", "edge-runtime-edge-a"),
    "bank": Account("bank", "default"),
    "bank-runtime": Account("bank", "digits-runtime"),
}
SAVED = "store://digits/digits.onnx"


class Known:
    """Accounts by token."""

    async def account(self, token: str) -> Account:
        if token not in ACCOUNTS:
            raise Unauthenticated("authorization: the token is not valid")
        return ACCOUNTS[token]


class Client:
    """Requests with a token, and for the operator the namespace for which it acts."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def __call__(
        self, method: str, path: str, token: str = "", acts_for: str = "", **more: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"X-Edge-Namespace": acts_for} if acts_for else {}
        return await self.http.request(method, path, headers=headers, **more)

    async def register(self, namespace: str, uri: str = SAVED, **more: str) -> httpx.Response:
        return await self("POST", "/v1/models", "operator", namespace, json={"storageUri": uri, **more})

    async def cut(self, model: Mapping[str, Any], token: str, acts_for: str = "") -> httpx.Response:
        first, *_ = model["exits"]
        asked = {
            "model": model["digest"],
            "inputs": [model["inputs"][0]["name"]],
            "outputs": first["outputs"],
        }
        return await self("POST", "/v1/slices", token, acts_for, json=asked)


@asynccontextmanager
async def serving(root: Path, *, tokens: bool = True) -> AsyncIterator[Client]:
    callers = TokenHolders(Known(), {OPERATOR}, {PROFILER}) if tokens else None
    transport = httpx.ASGITransport(StoreApp(root, LIMIT, callers=callers))
    async with httpx.AsyncClient(transport=transport, base_url="http://store") as client:
        yield Client(client)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Client]:
    async with serving(tmp_path) as client:
        yield client


@pytest_asyncio.fixture
async def model(store: Client, chain_model: bytes) -> Any:
    """Uploaded by a person of namespace shop, registered by the operator."""
    await store("PUT", "/v1/files/digits/digits.onnx", "shop", content=chain_model)
    return (await store.register("shop")).json()


def refused(response: httpx.Response, status: int, reason: str, *words: str) -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["reason"] == reason
    for word in words:
        assert word in error["message"]


REQUESTS = [
    ("PUT", "/v1/files/a"),
    ("GET", "/v1/files/a"),
    ("GET", f"/v1/blobs/sha256:{'0' * 64}"),
    ("PUT", f"/v1/blobs/sha256:{'0' * 64}"),
    ("POST", "/v1/models"),
    ("GET", f"/v1/models/sha256:{'0' * 64}"),
    ("POST", "/v1/slices"),
    ("POST", "/v1/codecs"),
    ("PUT", f"/v1/profiles/sha256:{'0' * 64}/factory/camera"),
    ("GET", f"/v1/profiles/sha256:{'0' * 64}/factory/camera"),
    ("DELETE", "/v1/files/a"),
]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
async def test_a_request_without_a_valid_token_is_refused(store: Client, method: str, path: str) -> None:
    missing = await store(method, path, content=b"{}")
    refused(missing, 401, "Unauthenticated", "authorization", "kubectl create token")
    assert missing.headers["www-authenticate"] == "Bearer"
    refused(await store(method, path, "made-up", content=b"{}"), 401, "Unauthenticated")


async def test_a_blob_that_is_not_shown_has_no_size_either(store: Client, model: Any) -> None:
    path = f"/v1/blobs/{model['digest']}"
    for token, status in (("", 401), ("bank", 404), ("shop", 200)):
        response = await store("HEAD", path, token)
        assert response.status_code == status
    assert int(response.headers["content-length"]) == model["size"]


@pytest.mark.parametrize("path", ["/v1/health/ready", "/v1/health/live", "/metrics"])
async def test_health_and_metrics_need_no_token(store: Client, path: str) -> None:
    assert (await store("GET", path)).status_code == 200


async def test_a_probe_needs_no_token_because_it_stores_and_shows_nothing(store: Client) -> None:
    assert (await store("POST", "/v1/probe", content=b"12345")).json()["bytes"] == 5


async def test_the_token_can_come_in_a_header_that_the_api_servers_proxy_keeps(store: Client) -> None:
    headers = {"X-Edge-Authorization": "bearer shop"}
    assert (await store.http.put("/v1/files/a", content=b"1", headers=headers)).status_code == 200
    wrong = {"X-Edge-Authorization": "Basic c2hvcA=="}
    refused(
        await store.http.put("/v1/files/a", content=b"1", headers=wrong), 401, "Unauthenticated", "Bearer"
    )


async def test_a_runtime_reads_the_slices_of_its_namespace(store: Client, model: Any) -> None:
    made = (await store.cut(model, "operator", "shop")).json()
    response = await store("GET", f"/v1/blobs/{made['digest']}", "shop-runtime")
    assert f"sha256:{hashlib.sha256(response.content).hexdigest()}" == made["digest"]


async def test_a_digest_gives_no_access(store: Client, model: Any) -> None:
    slice_ = (await store.cut(model, "operator", "shop")).json()
    for digest in (model["digest"], slice_["digest"]):
        refused(await store("GET", f"/v1/blobs/{digest}", "bank-runtime"), 404, "NotFound", "bank")
    refused(await store("GET", f"/v1/models/{model['digest']}", "bank"), 404, "NotFound")
    refused(await store("GET", f"/v1/models/{model['digest']}/layers", "bank"), 404, "NotFound")
    refused(await store.cut(model, "bank"), 404, "NotFound")
    codecs = {"model": model["digest"], "validation": {"storageUri": "store://heldout.npz"}}
    refused(await store("POST", "/v1/codecs", "bank", json=codecs), 404, "NotFound", model["digest"])
    refused(
        await store.register("bank", "store://mine.onnx", digest=model["digest"]),
        404,
        "NotFound",
        "mine.onnx",
    )
    missing = f"sha256:{'0' * 64}"
    answers = [await store("GET", f"/v1/blobs/{digest}", "bank") for digest in (slice_["digest"], missing)]
    said = {answer.text.replace(slice_["digest"], missing) for answer in answers}
    assert len(said) == 1  # nothing tells that the blob exists


async def test_names_are_not_shared(store: Client, model: Any, chain_model: bytes) -> None:
    refused(await store("GET", "/v1/files/digits/digits.onnx", "bank"), 404, "NotFound", "bank")
    refused(await store.register("bank"), 404, "NotFound", "digits/digits.onnx")
    await store("PUT", "/v1/files/digits/digits.onnx", "bank", content=b"other")
    assert (await store("GET", "/v1/files/digits/digits.onnx", "shop")).content == chain_model


async def test_a_namespace_with_the_same_bytes_registers_them_and_they_are_stored_once(
    store: Client, model: Any, chain_model: bytes, tmp_path: Path
) -> None:
    await store("PUT", "/v1/files/same.onnx", "bank", content=chain_model)
    exits = [{"name": "only", "outputs": model["exits"][0]["outputs"], "accuracy": 0.5}]
    asked = {"storageUri": "store://same.onnx", "exits": exits}
    again = (await store("POST", "/v1/models", "operator", "bank", json=asked)).json()
    assert again["digest"] == model["digest"]
    assert (await store("GET", f"/v1/blobs/{model['digest']}", "bank-runtime")).content == chain_model
    assert len(list((tmp_path / "blobs").iterdir())) == 1
    names = [e["name"] for e in (await store("GET", f"/v1/models/{model['digest']}", "shop")).json()["exits"]]
    assert names == [e["name"] for e in model["exits"]]
    union = (await store("GET", f"/v1/models/{model['digest']}", "profiler")).json()["exits"]
    assert sorted(e["name"] for e in union) == sorted([*names, "only"])


@pytest.mark.parametrize("token", ["shop-runtime", "shop-edge-a", "bank-runtime", "profiler", "operator"])
async def test_runtimes_and_accounts_that_act_for_no_namespace_only_read(
    store: Client, model: Any, chain_model: bytes, token: str
) -> None:
    digest = f"sha256:{hashlib.sha256(b'1').hexdigest()}"
    for path, content in (("/v1/files/digits/digits.onnx", b"1"), (f"/v1/blobs/{digest}", b"1")):
        refused(await store("PUT", path, token, content=content), 403, "Forbidden", "only read")
    refused(await store("POST", "/v1/models", token, json={"storageUri": SAVED}), 403, "Forbidden")
    refused(await store("POST", "/v1/codecs", token, json={}), 403, "Forbidden")
    assert (await store("GET", "/v1/files/digits/digits.onnx", "shop")).content == chain_model


async def test_only_the_operator_acts_for_another_namespace(store: Client, model: Any) -> None:
    path = f"/v1/blobs/{model['digest']}"
    for token in ("bank", "profiler"):
        refused(await store("GET", path, token, "shop"), 403, "Forbidden", '"shop"', str(ACCOUNTS[token]))
    assert (await store("GET", path, "shop-runtime", "shop")).status_code == 200
    refused(await store("GET", path, "operator", "../shop"), 400, "BadRequest", "x-edge-namespace")
    refused(await store("GET", path, "operator", "bank"), 404, "NotFound")


async def test_profiles_are_stored_by_profilers_and_read_where_the_model_is_registered(
    store: Client, model: Any
) -> None:
    path = f"/v1/profiles/{model['digest']}/factory/camera"
    profile = {
        "model": model["digest"],
        "selection": "factory",
        "deviceClass": "camera",
        "segments": [],
    }
    refused(await store("PUT", path, "shop", json=profile), 403, "Forbidden", "--profiler-account")
    assert (await store("PUT", path, "profiler", json=profile)).status_code == 200
    assert (await store("GET", path, "operator", "shop")).json() == profile
    refused(await store("GET", path, "bank"), 404, "NotFound")


async def test_a_profiler_cuts_slices_that_no_namespace_gets_by_digest(store: Client, model: Any) -> None:
    made = (await store.cut(model, "profiler")).json()
    path = f"/v1/blobs/{made['digest']}"
    assert (await store("GET", path, "profiler")).status_code == 200
    refused(await store("GET", path, "bank"), 404, "NotFound")
    refused(await store.register("bank", "store://mine.onnx", digest=made["digest"]), 404, "NotFound")


async def test_external_data_of_another_namespace_is_not_reached_through_a_pin(
    store: Client, tmp_path: Path, chain_model: bytes
) -> None:
    path = tmp_path / "m.onnx"
    model = onnx.load_model_from_string(chain_model)
    onnx.save_model(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert pin([str(path)]) == 0
    for name in ("m.onnx", "w.bin"):
        await store("PUT", f"/v1/files/d/{name}", "shop", content=(tmp_path / name).read_bytes())
    assert (await store.register("shop", "store://d/m.onnx")).status_code == 200
    await store("PUT", "/v1/files/d/m.onnx", "bank", content=path.read_bytes())
    refused(await store.register("bank", "store://d/m.onnx"), 404, "NotFound", "w.bin")


async def test_what_was_stored_without_tokens_is_registered_by_the_operator_without_another_download(
    tmp_path: Path, chain_model: bytes
) -> None:
    async with serving(tmp_path, tokens=False) as before:
        await before("PUT", "/v1/files/digits/digits.onnx", content=chain_model)
        model = (await before("POST", "/v1/models", json={"storageUri": SAVED})).json()
        slice_ = (await before.cut(model, "")).json()
    gone = "http://127.0.0.1:9/digits.onnx"  # an internal address: it would be refused
    async with serving(tmp_path) as store:
        for path in (f"/v1/blobs/{slice_['digest']}", "/v1/files/digits/digits.onnx"):
            refused(await store("GET", path, "shop"), 404, "NotFound")
        refused(await store.register("shop"), 404, "NotFound")  # a name alone gives no access either
        asked = {"storageUri": gone, "digest": model["digest"]}
        refused(await store("POST", "/v1/models", "shop", json=asked), 400, "Refused")  # no tenant inherits
        assert (await store.register("shop", gone, digest=model["digest"])).json() == model
        assert (await store.cut(model, "operator", "shop")).json() == slice_
        assert (await store("GET", f"/v1/blobs/{slice_['digest']}", "shop-runtime")).status_code == 200
        # It now belongs to shop: bank needs the bytes, here those that were uploaded without tokens.
        refused(await store.register("bank", gone, digest=model["digest"]), 400, "Refused")
        assert (await store.register("bank", SAVED, digest=model["digest"])).json() == model


async def test_a_wrong_digest_does_not_show_that_of_what_was_stored_without_tokens(
    tmp_path: Path, chain_model: bytes
) -> None:
    async with serving(tmp_path, tokens=False) as before:
        await before("PUT", "/v1/files/digits/digits.onnx", content=chain_model)
        model = (await before("POST", "/v1/models", json={"storageUri": SAVED})).json()
    async with serving(tmp_path) as store:
        guessed = await store.register("bank", SAVED, digest=f"sha256:{'0' * 64}")
        refused(guessed, 404, "NotFound", SAVED.removeprefix("store://"), "bank")
        assert model["digest"] not in guessed.text
        assert (await store.register("bank", SAVED, digest=model["digest"])).json() == model


async def test_what_namespaces_stored_is_found_again_after_a_restart(
    store: Client, model: Any, tmp_path: Path
) -> None:
    made = (await store.cut(model, "operator", "shop")).json()
    async with serving(tmp_path) as restarted:
        assert (await restarted("GET", f"/v1/blobs/{made['digest']}", "shop-runtime")).status_code == 200
        refused(await restarted("GET", f"/v1/blobs/{made['digest']}", "bank"), 404, "NotFound")


async def test_a_store_without_tokens_shows_all_models_to_all_callers(tmp_path: Path, model: Any) -> None:
    async with serving(tmp_path, tokens=False) as store:
        assert (await store("GET", f"/v1/blobs/{model['digest']}")).status_code == 200
        assert (await store("GET", f"/v1/models/{model['digest']}")).json() == model


@pytest.mark.parametrize("text", ["shop", "shop/", "/x", "a/b/c", "Shop/x"])
def test_an_account_is_a_namespace_and_a_name(text: str) -> None:
    with pytest.raises(ValueError, match=mentions(json.dumps(text), "NAMESPACE/NAME")):
        parsed_account(text)
