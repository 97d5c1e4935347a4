"""A runtime with a Placement takes tensors from shared memory, if its flags allow that."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from chains import IMAGE, SERVICE, Runtimes, branches
from edge_operator.store import ModelStore
from messages import mentions


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture
def runtimes(store_url: str, tmp_path: Path, stack: ExitStack) -> Runtimes:
    connections = stack.enter_context(httpx.Client())
    connections.put(f"{store_url}/v1/files/branches.onnx", content=branches()).raise_for_status()
    client = ModelStore(store_url, connections)
    return Runtimes(client, client.register(SERVICE.spec.model), tmp_path, stack)


def register(runtimes: Runtimes, name: str, size: int) -> httpx.Response:
    url = f"{runtimes.url('cam')}/v2/systemsharedmemory/region/{name}/register"
    return httpx.post(url, json={"key": f"/{name}", "offset": 0, "byte_size": size})


def in_region(name: str, size: int) -> dict[str, Any]:
    return {"shared_memory_region": name, "shared_memory_byte_size": size}


def test_a_frame_is_read_from_the_folder_and_the_result_is_written_there(
    runtimes: Runtimes, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "frame").write_bytes(IMAGE.tobytes())
    size = 4 * 3 * len(IMAGE)
    (folder / "scores").write_bytes(bytes(size))
    runtimes.flags = ("--shared-memory", str(folder))
    runtimes.start()
    expected = runtimes.answer("early@local")
    for name, length in (("frame", IMAGE.nbytes), ("scores", size)):
        register(runtimes, name, length).raise_for_status()
    frame = {"name": "image", "shape": list(IMAGE.shape), "datatype": "FP32"}
    request = {
        "inputs": [frame | {"parameters": in_region("frame", IMAGE.nbytes)}],
        "outputs": [{"name": "logits", "parameters": in_region("scores", size)}],
    }
    reply = httpx.post(f"{runtimes.url('cam')}/v2/models/branches/infer", json=request)
    assert reply.status_code == 200, reply.text
    assert "data" not in reply.json()["outputs"][0]
    found = np.frombuffer((folder / "scores").read_bytes(), np.float32).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_it_is_refused_by_default_with_what_allows_it(runtimes: Runtimes) -> None:
    runtimes.start()
    reply = register(runtimes, "frame", 96)
    assert reply.status_code == 400
    assert mentions("shared memory is off", "spec.nodes[].sharedMemory").search(reply.json()["error"])
