"""Operator, runtimes and profiling Jobs at a model store that requires tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from edge_api import reasons
from edge_api.model_sources import ModelSource
from edge_operator.errors import StoreError
from edge_operator.store import ModelStore
from edge_runtime import model_store
from edge_runtime.connections import Resolver
from edge_runtime.errors import NotFound, StorageError
from edge_runtime.store.app import StoreApp
from edge_runtime.store.callers import Account, TokenHolders
from edge_runtime.store.serving import store_server
from edge_runtime.store.tokens import Tokens
from edge_runtime.token_reviews import TokenReviews
from measuring import SELECTION, profiled
from messages import mentions
from reviewing import AUDIENCE, Reviewer, reviewing
from waiting import until

SYSTEM = "edge-intelligence"
SOURCE = ModelSource(storage_uri="store://two/exits.onnx")


@dataclass(frozen=True)
class Guarded:
    """A store whose callers show tokens, and the API server that reviews them."""

    url: str
    reviewer: Reviewer
    folder: Path
    client: httpx.Client

    def token(self, namespace: str, name: str) -> Path:
        """Returns a file with a new token, as the kubelet mounts it."""
        path = self.folder / f"{namespace}-{name}"
        path.write_text(f"{self.reviewer.account(namespace, name)}\n")
        return path

    def operators(self) -> ModelStore:
        return ModelStore(self.url, self.client, token=self.token(SYSTEM, "edge-operator"))

    def runtimes(self, namespace: str) -> model_store.ModelStore:
        return model_store.ModelStore(self.url, token=self.token(namespace, "digits-runtime"))


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with reviewing() as reviewer:
        reviews = TokenReviews(AUDIENCE, reviewer.url, Resolver(), tmp_path)
        accounts = [Account(SYSTEM, name) for name in ("edge-operator", "edge-profiler")]
        callers = TokenHolders(Tokens(reviews.review), accounts[:1], accounts[1:])
        server = store_server(StoreApp(tmp_path / "store", 1 << 24, callers=callers), "127.0.0.1", 0)
        thread = threading.Thread(target=server.run)
        thread.start()
        until(lambda: server.started, lambda: "the store did not start")
        with httpx.Client() as client:  # whose open connection would keep the store from ending
            yield Guarded(f"http://127.0.0.1:{server.ports[0]}", reviewer, tmp_path, client)
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def uploaded(guarded: Guarded, model: bytes) -> Guarded:
    """A person of namespace shop has uploaded the model."""
    token = guarded.reviewer.account("shop", "default")
    headers = {"Authorization": f"Bearer {token}"}
    httpx.put(f"{guarded.url}/v1/files/two/exits.onnx", content=model, headers=headers).raise_for_status()
    return guarded


async def test_a_service_of_one_namespace_is_registered_profiled_and_fetched(uploaded: Guarded) -> None:
    store = uploaded.operators().of("shop")
    card = store.register(SOURCE)
    slice_ = store.slice(card.digest, ["image"], ["hidden"])
    runtime = uploaded.runtimes("shop")
    assert len(await runtime.blob(slice_.digest)) == slice_.size
    runtime.close()
    with store.blob(slice_.digest) as blob:
        assert sum(map(len, blob.chunks)) == slice_.size
    profiler = model_store.ModelStore(uploaded.url, token=uploaded.token(SYSTEM, "edge-profiler"))
    await profiled(profiler, card.digest, "camera")
    found = store.profile(card.digest, SELECTION, "camera")
    assert found is not None
    assert {each.exit for each in found.exits} == {"early", "final"}
    assert all(spec["audiences"] == [AUDIENCE] for spec in uploaded.reviewer.asked)


async def test_another_namespace_reads_and_registers_nothing_of_it(uploaded: Guarded) -> None:
    operator = uploaded.operators()
    card = operator.of("shop").register(SOURCE)
    slice_ = operator.of("shop").slice(card.digest, ["image"], ["hidden"])
    runtime = uploaded.runtimes("bank")
    with pytest.raises(NotFound, match=mentions(slice_.digest, "bank")):
        await runtime.blob(slice_.digest)
    runtime.close()
    for source in (SOURCE, SOURCE.model_copy(update={"digest": card.digest})):
        with pytest.raises(StoreError) as error:
            operator.of("bank").register(source)
        assert error.value.reason == reasons.NOT_FOUND
    assert operator.of("bank").layers(card.digest) is None


def test_the_operator_registers_nothing_for_no_namespace(uploaded: Guarded) -> None:
    with pytest.raises(StoreError, match=mentions("X-Edge-Namespace")) as error:
        uploaded.operators().register(SOURCE)
    assert error.value.reason == reasons.FORBIDDEN


async def test_a_renewed_token_is_read_from_its_file(uploaded: Guarded) -> None:
    operator = uploaded.operators().of("shop")
    card = operator.register(SOURCE)
    path = uploaded.token("shop", "digits-runtime")
    runtime = model_store.ModelStore(uploaded.url, token=path)
    path.write_text("expired")
    with pytest.raises(StorageError, match=mentions("token", "expired")):
        await runtime.blob(card.digest)
    path.write_text(uploaded.reviewer.account("shop", "digits-runtime"))
    assert len(await runtime.blob(card.digest)) == card.size
    path.unlink()
    with pytest.raises(StorageError, match=mentions("--store-token-file", path.name)):
        await runtime.blob(card.digest)
    runtime.close()


def test_the_operator_says_which_token_is_missing_or_not_accepted(uploaded: Guarded, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=mentions("EDGE_STORE_TOKEN_FILE", "nowhere")) as error:
        ModelStore(uploaded.url, uploaded.client, token=tmp_path / "nowhere").of("shop").register(SOURCE)
    assert error.value.reason == reasons.UNAUTHENTICATED
    with pytest.raises(StoreError, match=mentions("authorization", "missing")) as error:
        ModelStore(uploaded.url, uploaded.client).of("shop").register(SOURCE)
    assert error.value.reason == reasons.UNAUTHENTICATED


def test_without_the_api_server_the_operator_tries_again(uploaded: Guarded) -> None:
    uploaded.reviewer.broken = True
    with pytest.raises(StoreError, match=mentions("API server")) as error:
        uploaded.operators().of("shop").register(SOURCE)
    assert error.value.reason == reasons.UNREACHABLE


def test_an_upload_through_the_api_servers_proxy_has_its_token_in_another_header(uploaded: Guarded) -> None:
    token = uploaded.reviewer.account("bank", "default")
    headers = {"X-Edge-Authorization": f"Bearer {token}"}
    answer = httpx.put(f"{uploaded.url}/v1/files/a.bin", content=b"1", headers=headers)
    assert json.loads(answer.content)["size"] == 1
