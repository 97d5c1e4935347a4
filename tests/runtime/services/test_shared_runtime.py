"""`edge-runtime run` without --service, over HTTP and gRPC."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edge_runtime.cli import _parser
from edge_runtime.server import run
from loops import in_thread
from placed import NODE, NOWHERE, Document, adding, placement
from stages import ask
from waiting import until

MISSING = f"sha256:{'0' * 64}"
ZEROS = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}]}


def write(folder: Path, documents: Sequence[Document]) -> None:
    """Replaces the file of Placements at once."""
    (folder / "new.yaml").write_text("\n---\n".join(json.dumps(document) for document in documents))
    (folder / "new.yaml").replace(folder / "placements.yaml")


def at_hand(folder: Path, model: bytes) -> str:
    """Puts a slice into the node's cache; returns its digest."""
    name = hashlib.sha256(model).hexdigest()
    (folder / "cache" / "slices").mkdir(parents=True, exist_ok=True)
    (folder / "cache" / "slices" / name).write_bytes(model)
    return f"sha256:{name}"


@contextmanager
def running(folder: Path) -> Iterator[Path]:
    """The runtime of all services in `placements.yaml`; yields the folder of its sockets."""
    named = {"namespace": "default", "node": NODE, "store": NOWHERE, "host": "127.0.0.1"}
    named |= {"http-port": "0", "grpc-port": "0", "uds": str(folder / "uds")}
    named |= {"cache-dir": str(folder / "cache"), "placement-file": str(folder / "placements.yaml")}
    arguments = _parser().parse_args(["run", *(f"--{name}={value}" for name, value in named.items())])
    with in_thread(lambda stop: run(arguments, stop, drain=0.0)):
        until(lambda: status(folder / "uds", "/v2/health/ready") == 200, "it is ready")
        yield folder / "uds"


def status(sockets: Path, path: str) -> int:
    try:
        return ask(sockets, "GET", path)[0]
    except OSError:
        return 0


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[Path]:
    """A runtime of two services that serve, and one whose slice is missing."""
    tables = [("ones", at_hand(tmp_path, adding(1))), ("twos", at_hand(tmp_path, adding(2)))]
    write(tmp_path, [placement(name, digest) for name, digest in (*tables, ("lost", MISSING))])
    with running(tmp_path) as folder:
        yield folder


def infer(sockets: Path, model: str) -> tuple[int, Any]:
    return ask(sockets, "POST", f"/v2/models/{model}/infer", ZEROS)


def test_each_service_answers_by_its_name_over_http(sockets: Path) -> None:
    for name, number in (("ones", 1.0), ("twos", 2.0), ("ones", 1.0)):
        code, said = infer(sockets, name)
        assert (code, said["outputs"][0]["data"]) == (200, [number] * 4)
        assert said["model_name"] == name
    code, said = infer(sockets, "lost")
    assert code == 503
    assert "model lost is not ready" in said["error"]
    code, said = infer(sockets, "other")
    assert code == 404
    assert 'model "other": it is not served here' in said["error"]


def test_each_service_answers_by_its_name_over_grpc_also_with_equal_tensors(sockets: Path) -> None:
    with triton.InferenceServerClient(f"unix:{sockets / 'grpc.sock'}") as client:
        given = triton.InferInput("x", [1, 4], "FP32")
        given.set_data_from_numpy(np.zeros((1, 4), np.float32))
        for name, number in (("ones", 1.0), ("twos", 2.0)) * 3:
            assert client.infer(name, [given]).as_numpy("y").tolist() == [[number] * 4]
        assert client.is_server_ready()
        assert client.is_model_ready("ones")
        assert not client.is_model_ready("lost")
        names = {model.name: model.state for model in client.get_model_repository_index().models}
        assert names == {"ones": "READY", "twos": "READY", "lost": "UNAVAILABLE"}


def test_health_is_that_of_the_process_and_of_each_service(sockets: Path) -> None:
    assert status(sockets, "/v2/health/ready") == 200
    assert status(sockets, "/v2/models/ones/ready") == 200
    assert status(sockets, "/v2/models/lost/ready") == 503
    with grpc.insecure_channel(f"unix:{sockets / 'grpc.sock'}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        found = [stub.Check(health_pb2.HealthCheckRequest(service=n)).status for n in ("", "ones", "lost")]
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert found == [serving, serving, not_serving]


def test_a_service_of_a_drained_tenant_is_refused_with_the_message_of_its_placement(tmp_path: Path) -> None:
    ones, slice_ = placement("ones", at_hand(tmp_path, adding(1))), at_hand(tmp_path, adding(2))
    twos = placement("twos", slice_)
    write(tmp_path, [ones, twos])
    with running(tmp_path) as sockets:
        assert infer(sockets, "twos")[0] == 200
        write(tmp_path, [ones, placement("twos", slice_, generation=2, refusal="Tenant shop: drained")])
        until(lambda: status(sockets, "/v2/models/twos/ready") == 503, "the service is refused")
        assert infer(sockets, "twos") == (503, {"error": "Tenant shop: drained"})
        assert status(sockets, "/v2/health/ready") == 200
        assert infer(sockets, "ones")[0] == 200
        write(tmp_path, [ones, placement("twos", slice_, generation=3)])
        until(lambda: status(sockets, "/v2/models/twos/ready") == 200, "the service is served again")


def test_a_service_that_is_added_and_removed_later_leaves_the_others_alone(tmp_path: Path) -> None:
    ones = placement("ones", at_hand(tmp_path, adding(1)))
    write(tmp_path, [ones])
    with running(tmp_path) as sockets:
        assert infer(sockets, "ones")[0] == 200
        write(tmp_path, [ones, placement("twos", at_hand(tmp_path, adding(2)))])
        until(lambda: status(sockets, "/v2/models/twos/ready") == 200, "the added service is ready")
        write(tmp_path, [ones])
        until(lambda: status(sockets, "/v2/models/twos/ready") == 404, "the removed service is gone")
        assert infer(sockets, "ones")[1]["outputs"][0]["data"] == [1.0] * 4
    assert [path.name for path in (tmp_path / "cache" / "services").iterdir()] == ["ones"]
