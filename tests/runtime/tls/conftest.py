"""One model behind TLS on both transports, with the callers that may and may not ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edge_runtime.tls.certificates import Certificates, Clients
from mounts import Mount, Signer
from stages import alone


def doubler() -> bytes:
    """y = x + x, each [N, 3]."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "test", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


@dataclass(frozen=True)
class Guarded:
    """A server that asks for certificates, and what it was started with."""

    http: int
    grpc: int
    said: str
    uds: Path
    mount: Mount
    signer: Signer
    certificates: Certificates
    folder: Path


@contextmanager
def guarded(folder: Path, clients: Clients) -> Iterator[Guarded]:
    (folder / "model.onnx").write_bytes(doubler())
    signer = Signer(folder / "authority")
    mount = Mount(folder / "tls", signer.pair())
    certificates = Certificates(mount.path, clients)
    with alone(folder / "model.onnx", uds=folder / "uds", certificates=certificates, health_port=0) as (
        http,
        grpc,
        said,
    ):
        yield Guarded(http, grpc, said, folder / "uds", mount, signer, certificates, folder)


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Guarded]:
    """Certificates are required."""
    with guarded(tmp_path, "require") as served:
        yield served


@pytest.fixture
def lenient(tmp_path: Path) -> Iterator[Guarded]:
    """Callers may show none."""
    with guarded(tmp_path, "optional") as served:
        yield served


@pytest.fixture
def serve_guarded() -> Callable[[Path, Clients], AbstractContextManager[Guarded]]:
    """For a test that ends the server itself."""
    return guarded
