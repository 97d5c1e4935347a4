"""The model store over HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import onnx
import pytest
import pytest_asyncio

from edge_runtime.errors import TrialCrashed, TrialHung
from edge_runtime.model_store import ModelStore
from edge_runtime.profiling import profile_device
from edge_runtime.store.app import StoreApp
from edge_runtime.store.reachable import reachable
from messages import mentions
from misbehaving import crashing, endless

LIMIT = 1 << 20


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    allowed = reachable(tmp_path / "store", [tmp_path / "shared"], ["127.0.0.1"])
    transport = httpx.ASGITransport(StoreApp(tmp_path / "store", LIMIT, allowed))
    async with httpx.AsyncClient(transport=transport, base_url="http://store") as client:
        yield client


@pytest_asyncio.fixture
async def metadata(store: httpx.AsyncClient, chain_model: bytes) -> Any:
    await store.put("/v1/files/digits/digits.onnx", content=chain_model)
    return (await store.post("/v1/models", json={"storageUri": "store://digits/digits.onnx"})).json()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _error(response: httpx.Response, status: int, reason: str) -> str:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["reason"] == reason
    message: str = error["message"]
    return message


async def test_a_file_is_kept_under_its_path_and_answered_with_its_digest(store: httpx.AsyncClient) -> None:
    answer = await store.put("/v1/files/a/b.bin", content=b"12345")
    assert answer.json() == {"digest": f"sha256:{hashlib.sha256(b'12345').hexdigest()}", "size": 5}
    assert (await store.get("/v1/files/a/b.bin")).content == b"12345"
    _error(await store.get("/v1/files/a/c.bin"), 404, "NotFound")


@pytest.mark.parametrize("path", ["files/a", f"blobs/sha256:{hashlib.sha256(b'old').hexdigest()}"])
@pytest.mark.parametrize(
    "headers",
    [
        {"content-range": "bytes 0-2/9", "content-length": "3"},
        {"content-encoding": "gzip", "content-length": "3"},
        {"if-none-match": "*", "content-length": "3"},
        {"if-match": '"e"', "transfer-encoding": "chunked"},
        {"if-unmodified-since": "Sat, 28 Nov 2026 00:00:00 GMT", "content-length": "3"},
        {},
    ],
)
async def test_a_put_that_is_not_just_its_body_leaves_the_file_as_it_was(
    tmp_path: Path, path: str, headers: dict[str, str]
) -> None:
    app = StoreApp(tmp_path, LIMIT)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://store") as client:
        await client.put(f"/v1/{path}", content=b"old")
        answers: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"new" if headers else b"", "more_body": False}

        async def send(message: Any) -> None:
            answers.append(message)

        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "PUT", "path": f"/v1/{path}", "headers": pairs}
        await app(scope, receive, send)
        assert answers[0]["status"] == 400
        said = json.loads(answers[1]["body"])["error"]["message"]
        assert said.startswith(next(iter(headers), "body") + ":")
        assert (await client.get(f"/v1/{path}")).content == b"old"
    app.close()


async def test_a_blob_is_kept_under_its_digest_only(store: httpx.AsyncClient) -> None:
    digest = f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
    assert (await store.head(f"/v1/blobs/{digest}")).status_code == 404
    assert (await store.put(f"/v1/blobs/{digest}", content=b"abc")).status_code == 200
    assert (await store.get(f"/v1/blobs/{digest}")).content == b"abc"
    head = await store.head(f"/v1/blobs/{digest}")
    assert (head.status_code, head.headers["content-length"]) == (200, "3")
    wrong = "sha256:" + "0" * 64
    message = _error(await store.put(f"/v1/blobs/{wrong}", content=b"abc"), 422, "DigestMismatch")
    assert wrong in message
    assert digest in message
    _error(await store.get(f"/v1/blobs/{wrong}"), 404, "NotFound")


async def test_a_blob_that_the_disk_changed_is_not_returned(store: httpx.AsyncClient, tmp_path: Path) -> None:
    digest = (
        await store.put("/v1/blobs/sha256:" + hashlib.sha256(b"abc").hexdigest(), content=b"abc")
    ).json()["digest"]
    (tmp_path / "store" / "blobs" / digest.removeprefix("sha256:")).write_bytes(b"abd")
    damaged = _error(await store.get(f"/v1/blobs/{digest}"), 422, "DigestMismatch")
    assert mentions("digest:", digest, "removed").search(damaged)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a//../x", "/etc/passwd", "a/./../../b"])
async def test_no_path_leaves_the_folder(tmp_path: Path, name: str) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"evil"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": f"/v1/files/{name}", "headers": []}
    await StoreApp(tmp_path / "store", LIMIT)(scope, receive, send)
    assert sent[0]["status"] == 400
    assert _files(tmp_path) == []


async def test_a_file_beyond_the_limit_is_refused_and_leaves_nothing(
    store: httpx.AsyncClient, tmp_path: Path
) -> None:
    _error(await store.put("/v1/files/big", content=bytes(LIMIT + 1)), 413, "TooLarge")
    assert _files(tmp_path) == []


async def test_the_model_metadata_lists_the_exits_their_cuts_and_the_segments(metadata: Any) -> None:
    assert [e["name"] for e in metadata["exits"]] == ["exit1", "exit2", "final"]
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 16, 16]}]
    assert metadata["unrepeatable"] == ""
    assert metadata["exits"][0]["tensors"] == [
        {"name": "exit1_logits", "datatype": "FP32", "shape": [-1, 10]}
    ]
    assert metadata["exits"][0]["cuts"][0] == {"tensor": "image", "tensors": ["image"], "bytes": 1024}
    assert metadata["exits"][0]["responseBytes"] == 40
    assert {"from": "image", "to": "relu1"} in metadata["segments"]


async def test_the_layers_of_a_model_have_flops_and_the_bytes_of_the_tensors_between_them(
    store: httpx.AsyncClient, metadata: Any
) -> None:
    found = (await store.get(f"/v1/models/{metadata['digest']}/layers")).json()
    assert (found["inputs"], found["outputs"][-1]) == (["image"], "logits")
    assert found["layers"][0]["inputs"] == ["image"]
    assert sum(layer["flops"] for layer in found["layers"]) > 0
    tensors = {tensor["name"]: tensor["bytes"] for tensor in found["tensors"]}
    cuts = {cut["tensor"]: cut["bytes"] for exit_ in metadata["exits"] for cut in exit_["cuts"]}
    assert {name: tensors[name] for name in cuts} == cuts
    absent = await store.get(f"/v1/models/sha256:{'0' * 64}/layers")
    _error(absent, 404, "NotFound")


async def test_a_slice_is_cut_once_and_answered_with_its_tensors(
    store: httpx.AsyncClient, metadata: Any
) -> None:
    request = {"model": metadata["digest"], "inputs": ["pool1"], "outputs": ["logits"]}
    first, second = [(await store.post("/v1/slices", json=request)).json() for _ in range(2)]
    assert first == second
    assert first["inputs"] == [{"name": "pool1", "datatype": "FP32", "shape": [-1, 4, 8, 8]}]
    data = (await store.get(f"/v1/blobs/{first['digest']}")).content
    assert len(data) == first["size"]
    onnx.checker.check_model(onnx.load_model_from_string(data))


@pytest.mark.parametrize(
    ("change", "reason", "parts"),
    [
        ({"exits": [{"name": "e", "output": "nope", "accuracy": 0.9}]}, "UnknownOutput",
         ('model.exits[0].output: "nope"', "exit1_logits, exit2_logits, logits")),
        ({"exits": [{"name": "e", "output": "logits", "accuracy": 1.3}]}, "BadAccuracy",
         ("model.exits[0].accuracy: 1.3", "0 and 1")),
        ({"digest": "sha256:" + "1" * 64}, "DigestMismatch", ("model.digest:", "sha256:" + "1" * 64)),
        ({"digest": "md5:1"}, "BadRequest", ('model.digest: "md5:1"',)),
        ({"storageUri": "ftp://x/y"}, "UnsupportedScheme", ('"ftp"', "store://, https://")),
        ({"storageUri": "/just/a/path"}, "UnsupportedScheme", ('scheme ""',)),
        ({"storageUri": "store://not/there"}, "NotFound", ('"not/there"',)),
        ({"storageUri": "file:///not/there"}, "Refused", ('"file:///not/there"', "--shared-folder")),
        ({"storageUri": "http://127.0.0.1:1/m.onnx"}, "Unreachable", ("http://127.0.0.1:1/m.onnx",)),
        ({"storageUri": None}, "BadRequest", ("storageUri: null",)),
    ],
)  # fmt: skip
async def test_a_model_that_cannot_be_taken_is_refused_with_reason_and_sentence(
    store: httpx.AsyncClient, metadata: Any, change: dict[str, Any], reason: str, parts: tuple[object, ...]
) -> None:
    answer = await store.post("/v1/models", json={"storageUri": "store://digits/digits.onnx", **change})
    assert answer.status_code >= 400
    assert mentions(*parts).search(_error(answer, answer.status_code, reason))


async def test_what_is_not_onnx_is_refused(store: httpx.AsyncClient) -> None:
    await store.put("/v1/files/cat.jpg", content=b"\xff\xd8\xff\xe0JFIF")
    answer = await store.post("/v1/models", json={"storageUri": "store://cat.jpg"})
    assert mentions("8 bytes", "ff d8 ff e0").search(_error(answer, 400, "NotOnnx"))


async def test_exits_of_two_services_on_one_file_are_profiled_together(
    store: httpx.AsyncClient, metadata: Any
) -> None:
    request = {
        "storageUri": "store://digits/digits.onnx",
        "exits": [{"name": "e", "output": "exit2_logits", "accuracy": 0.5}],
    }
    own = (await store.post("/v1/models", json=request)).json()
    assert [e["name"] for e in own["exits"]] == ["e"]
    joined = (await store.get(f"/v1/models/{metadata['digest']}")).json()
    assert [e["name"] for e in joined["exits"]] == ["exit1", "exit2", "final", "e"]
    assert all(segment in joined["segments"] for segment in metadata["segments"])
    assert len(joined["segments"]) == len(metadata["segments"])


class _Files(BaseHTTPRequestHandler):
    content = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def web(chain_model: bytes) -> Iterator[str]:
    _Files.content = chain_model
    with ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/digits.onnx"
        server.shutdown()
        thread.join(10)


async def test_models_are_fetched_from_the_web_and_from_files(
    store: httpx.AsyncClient, web: str, tmp_path: Path, chain_model: bytes
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "m.onnx").write_bytes(chain_model)
    digest = f"sha256:{hashlib.sha256(chain_model).hexdigest()}"
    for uri in (web, f"file://{tmp_path}/shared/m.onnx"):
        answer = await store.post("/v1/models", json={"storageUri": uri, "digest": digest})
        assert answer.json()["digest"] == digest, answer.text


class Direct:
    """The client's calls, without a network in between."""

    def __init__(self, store: httpx.AsyncClient) -> None:
        self._store = store

    async def metadata(self, model: str) -> Any:
        return (await self._store.get(f"/v1/models/{model}")).json()

    async def slice(self, model: str, inputs: Any, outputs: Any) -> Any:
        request = {"model": model, "inputs": list(inputs), "outputs": list(outputs)}
        return (await self._store.post("/v1/slices", json=request)).json()

    async def blob(self, digest: str) -> bytes:
        return (await self._store.get(f"/v1/blobs/{digest}")).content


async def test_a_profile_is_measured_through_the_store_and_kept_there(
    store: httpx.AsyncClient, metadata: Any
) -> None:
    said: list[str] = []
    model_store = cast("ModelStore", Direct(store))
    profile = await profile_device(
        model_store,
        metadata["digest"],
        "camera",
        "edge-b",
        selection="factory-1",
        seconds=0.002,
        progress=said.append,
        threads=2,
    )
    assert profile["threads"] == 2
    assert profile["assumed"] == [{"input": "image", "dimension": 0, "symbol": "N", "size": 1}]
    assert [(i["name"], i["shape"], i["values"]) for i in profile["inputs"]] == [
        ("image", [1, 1, 16, 16], "generated")
    ]
    profiles = f"/v1/profiles/{metadata['digest']}"
    path = f"{profiles}/factory-1/camera"
    _error(await store.get(path), 404, "NotFound")
    assert (await store.put(path, json=profile)).status_code == 200
    assert (await store.get(path)).json() == profile
    _error(await store.get(f"{profiles}/shop-2/camera"), 404, "NotFound")
    assert [(s["from"], s["to"]) for s in profile["segments"]] == [
        (s["from"], s["to"]) for s in metadata["segments"]
    ]
    assert [e["exit"] for e in profile["exits"]] == ["exit1", "exit2", "final"]
    assert all(s["meanSeconds"] > 0 and s["runs"] >= 5 for s in profile["segments"])
    assert profile["requests"]["receiveSeconds"] > 0
    assert len(said) == 6 + len(metadata["segments"]) + 3 + 1  # the rounds, each result, requests
    for other in ("factory-1/gateway", "shop-2/camera"):
        wrong = await store.put(f"{profiles}/{other}", json=profile)
        assert "expected the DeviceProfile" in _error(wrong, 400, "BadRequest")
    wrong = await store.put(f"{profiles}/-shop/camera", json=profile)
    assert "selection" in _error(wrong, 400, "BadRequest")


@pytest.mark.parametrize(("data", "error"), [(crashing(), TrialCrashed), (endless(), TrialHung)])
async def test_a_slice_that_would_end_the_process_that_profiles_it_is_named(
    store: httpx.AsyncClient, data: bytes, error: type[Exception]
) -> None:
    await store.put("/v1/files/bad.onnx", content=data)
    exits = [{"name": "full", "output": "y", "accuracy": 0.9}]
    asked = {"storageUri": "store://bad.onnx", "exits": exits}
    metadata = (await store.post("/v1/models", json=asked)).json()
    with pytest.raises(error, match=r"slice sha256:\w+ from x to "):
        await profile_device(
            Direct(store),  # type: ignore[arg-type]
            metadata["digest"],
            "camera",
            "edge-b",
            selection="factory-1",
            seconds=0.002,
            progress=lambda _: None,
            trial_seconds=5.0,
        )


async def test_a_probe_is_swallowed_and_timed(store: httpx.AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(1000)

    answer = (await store.post("/v1/probe", content=body())).json()
    assert (answer["bytes"], answer["first"]) == (4000, 1000)
    assert answer["seconds"] > 0


async def test_what_is_not_there_is_404_and_bad_json_is_400(store: httpx.AsyncClient) -> None:
    _error(await store.get("/v1/nothing"), 404, "NotFound")
    _error(await store.post("/v1/models", content=b"{"), 400, "BadRequest")
    _error(await store.post("/v1/slices", content=json.dumps([])), 400, "BadRequest")
    assert (await store.get("/v1/health/ready")).status_code == 200
