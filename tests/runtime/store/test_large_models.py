"""The memory and the transfer of models that are large compared with what a process needs for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.runtime import large_models
from edge_runtime.asgi import Message
from edge_runtime.errors import DigestMismatch
from edge_runtime.slicing import digest_of
from edge_runtime.store.app import StoreApp
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.catalogue import Catalogue
from edge_runtime.store.holdings import Holdings
from weighty import weighty

MIB = 1 << 20


def test_a_large_model_is_cut_and_loaded_within_its_bounds(tmp_path: Path) -> None:
    found: Any = large_models.measure(tmp_path, lambda _: None, quick=True)["large_models"]
    assert found["store"]["file"] > 60
    assert found["store"]["peak_ratio"] < 0.5
    assert found["packed"]["peak_ratio"] < 2
    assert found["unpacked"]["peak_ratio"] < 1.3
    assert found["in_memory"]["peak_ratio"] > 2, "what mapping saves"
    assert found["disk_ratio"] == 1
    assert found["equal"]


@pytest.mark.parametrize("kind", ["files", "blobs"])
@pytest.mark.parametrize("size", [0, 3, MIB, 2 * MIB + 5])
async def test_files_are_sent_in_parts_of_a_mebibyte(tmp_path: Path, kind: str, size: int) -> None:
    data = bytes(range(251)) * (size // 251) + bytes(size % 251)
    app, sent = StoreApp(tmp_path, 4 * MIB), list[Message]()
    Blobs(tmp_path, 4 * MIB).put(data, tmp_path / "files" / "a" if kind == "files" else None)
    path = f"/v1/{kind}/{'a' if kind == 'files' else digest_of(data)}"

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
    app.close()
    assert sent[0]["status"] == 200
    assert dict(sent[0]["headers"])[b"content-length"] == b"%d" % size
    parts = [message["body"] for message in sent[1:]]
    assert b"".join(parts) == data
    assert max(map(len, parts)) <= MIB
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * (len(parts) - 1) + [False]


def test_a_slice_of_a_model_that_was_damaged_since_is_refused(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 64 * MIB)
    catalogue, holdings = Catalogue(blobs), Holdings(blobs)
    data = weighty(2, 256)
    blobs.put(data, holdings.file_path("m.onnx"))
    model = catalogue.add_model(
        {"storageUri": "store://m.onnx", "exits": [{"name": "all", "output": "y", "accuracy": 1}]}, holdings
    )
    at = data.index(b"w1") + 100
    blobs.blob_path(model["digest"]).write_bytes(data[:at] + b"?" + data[at + 1 :])
    with pytest.raises(DigestMismatch, match=model["digest"]):
        catalogue.add_slice({"model": model["digest"], "inputs": ["x"], "outputs": ["y"]}, holdings)
    catalogue.close()
