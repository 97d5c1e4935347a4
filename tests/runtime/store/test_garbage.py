"""Invalid requests to the store are reported as errors of the client."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.store.app import StoreApp

DIGEST = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, chain_model: bytes) -> StoreApp:
    store = StoreApp(tmp_path_factory.mktemp("store"), 1 << 20)
    ask(store, "PUT", "/v1/files/m.onnx", chain_model)
    return store


@pytest.fixture(scope="module")
def digest(app: StoreApp) -> str:
    status, metadata = ask(app, "POST", "/v1/models", orjson.dumps({"storageUri": "store://m.onnx"}))
    assert status == 200
    return str(metadata["digest"])


def ask(app: StoreApp, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", b"%d" % len(body))]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(app(scope, receive, send))
    answered = b"".join(message.get("body", b"") for message in sent[1:])
    try:
        return sent[0]["status"], orjson.loads(answered)
    except orjson.JSONDecodeError:
        return sent[0]["status"], answered


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from([DIGEST, "store://m.onnx", "store://..", "http://[", "logits", "fp32", "a" * 300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
exits = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"name": values, "output": st.just("logits") | values, "accuracy": st.floats(0, 1) | values},
    )
    | values,
    max_size=3,
)
tensors = st.lists(st.sampled_from(["image", "pool1", "logits"]) | values, max_size=3) | values
documents = (
    st.fixed_dictionaries(
        {},
        optional={
            "storageUri": st.just("store://m.onnx") | values,
            "digest": values,
            "exits": exits | values,
            "model": st.just("the model's") | values,
            "inputs": tensors,
            "outputs": tensors,
            "decode": st.just("int8") | values,
            "encode": values,
            "validation": st.fixed_dictionaries(
                {}, optional={"storageUri": st.just("store://m.onnx") | values, "digest": values}
            )
            | values,
            "selection": st.just("factory-1") | values,
            "deviceClass": st.just("camera") | values,
            "segments": values,
        },
    )
    | values
)
# None of these addresses leads to a real server.
places = st.sampled_from(
    [
        ("POST", "/v1/models"),
        ("POST", "/v1/slices"),
        ("POST", "/v1/codecs"),
        ("PUT", f"/v1/profiles/{DIGEST}/factory-1/camera"),
    ]
)


@settings(deadline=None)
@given(places, documents)
def test_no_document_is_too_strange(
    app: StoreApp, digest: str, place: tuple[str, str], document: Any
) -> None:
    if isinstance(document, dict) and document.get("model") == "the model's":
        document = {**document, "model": digest}
    status, said = ask(app, *place, orjson.dumps(document))
    assert status < 500
    if status >= 400:
        message = said["error"]["message"]
        assert 0 < len(message) < 800
        words = ("None", "True", "Traceback", "object is not")
        told = re.sub(r'"(?:[^"\\]|\\.)*"', "", message)  # without the client's values
        assert not any(word in told for word in words), message


@settings(deadline=None)
@given(st.binary(max_size=40), places)
def test_no_body_is_too_strange(app: StoreApp, body: bytes, place: tuple[str, str]) -> None:
    assert ask(app, *place, body)[0] < 500


parts = st.text(max_size=8) | st.sampled_from(
    [
        "v1",
        "files",
        "blobs",
        "models",
        "profiles",
        "slices",
        "codecs",
        "..",
        ".",
        "",
        DIGEST,
        "camera",
        "a" * 256,
    ]
)


@settings(deadline=None)
@given(st.sampled_from(["GET", "PUT", "POST", "HEAD", "DELETE"]), st.lists(parts, max_size=6), st.booleans())
def test_no_path_is_too_strange(app: StoreApp, method: str, names: list[str], under: bool) -> None:
    path = "/".join(["", *(["v1", "files"] if under else []), *names])
    status, said = ask(app, method, path, b"x")
    assert status < 500
    if status == 400:
        assert "\n" not in said["error"]["message"]


@pytest.mark.parametrize(
    "name",
    [
        "a" * 256,
        "ü" * 128,
        "/".join(["a" * 200] * 6),
        "a//b",
        "a/",
        "/a",
        "a/./b",
        "..",
        "a\x00b",
        "a\nb",
        "a\x7f",
        "a\ufffd",
        "\udce4",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_name_that_no_file_can_have_is_refused(
    app: StoreApp, method: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        status, said = ask(app, method, f"/v1/files/{name}", b"x")
    assert (status, said["error"]["reason"]) == (400, "BadRequest")
    assert said["error"]["message"].startswith("path: ")
    assert caplog.records == []


@pytest.mark.parametrize("name", ["a" * 255, ".hidden", "a b", "ü", "%2e%2e", "a\\b", "😀.onnx", "x?y#z"])
def test_any_other_name_is_kept_as_it_is(app: StoreApp, name: str) -> None:
    assert ask(app, "PUT", f"/v1/files/{name}", b"12")[0] == 200
    assert ask(app, "GET", f"/v1/files/{name}") == (200, 12)


def test_what_the_store_itself_gets_wrong_is_said_to_be_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StoreApp(tmp_path, 100)
    monkeypatch.setattr(store, "_route", None)
    status, said = ask(store, "GET", f"/v1/{quote('x')}")
    assert (status, said["error"]["reason"]) == (500, "Failed")
