"""One model behind TLS on both transports, with clients that are admitted and clients that are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from onnx import helper

from edge_runtime.tls.certificates import Certificates, Clients
from mounts import Mount, Signer
from networks import info, model_of
from stages import alone


def doubler() -> bytes:
    """y = x + x, each [N, 3]."""
    return model_of([helper.make_node("Add", ["x", "x"], ["y"])], [info("x", "N", 3)], [info("y", "N", 3)])


@dataclass(frozen=True)
class Guarded:
    """A server that requires certificates, and the arguments of its start."""

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
    """Client certificates are optional."""
    with guarded(tmp_path, "optional") as served:
        yield served


@pytest.fixture
def serve_guarded() -> Callable[[Path, Clients], AbstractContextManager[Guarded]]:
    """For a test that stops the server itself."""
    return guarded
