"""Models in images and artifacts of a real OCI registry."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import BadRequest, NotFound, Refused
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.reachable import Reachable, reachable
from edge_runtime.store.remote.references import reference_of
from edge_runtime.store.schemes import address_of, source_of
from edge_runtime.store.sources import fetch
from messages import mentions
from model_servers import Registry, registry

MODEL, OTHER = os.urandom(3 << 20), b"another model"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def allowed(server: Registry) -> Reachable:
    return reachable(Path("/no/root"), [], ["127.0.0.1"], [server.address])


@pytest.fixture
def holdings(tmp_path: Path) -> Holdings:
    return Holdings(Blobs(tmp_path, 1 << 30))


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("zipped", [True, False])
def test_the_model_of_an_image_is_found_in_its_folder(
    server: Registry, allowed: Reachable, holdings: Holdings, *, zipped: bool
) -> None:
    layers = [{"bin/sh": b"#!"}, {"models/digits.onnx": MODEL, "models/labels.txt": b"0 1 2"}]
    address = server.push_image("digits:v1", layers, zipped=zipped)
    assert fetch(address, None, holdings, allowed=allowed).digest == _digest(MODEL)


def test_a_later_layer_hides_the_files_of_earlier_ones(
    server: Registry, allowed: Reachable, holdings: Holdings
) -> None:
    replaced = server.push_image("over:v1", [{"models/m.onnx": OTHER}, {"models/m.onnx": MODEL}])
    assert fetch(replaced, None, holdings, allowed=allowed).digest == _digest(MODEL)
    removed = server.push_image("gone:v1", [{"models/m.onnx": MODEL}, {"models/.wh.m.onnx": b""}])
    with pytest.raises(NotFound, match=mentions(removed, ".onnx")):
        fetch(removed, None, holdings, allowed=allowed)


def test_one_of_several_models_is_chosen_by_its_path(
    server: Registry, allowed: Reachable, holdings: Holdings
) -> None:
    address = server.push_image("two:v1", [{"models/a.onnx": MODEL, "models/b.onnx": OTHER}])
    with pytest.raises(BadRequest, match=mentions(address, "models/a.onnx", "models/b.onnx", "#")):
        fetch(address, None, holdings, allowed=allowed)
    assert fetch(f"{address}#models/b.onnx", None, holdings, allowed=allowed).digest == _digest(OTHER)
    assert list((holdings.blobs.root / "incoming").iterdir()) == []


def test_an_artifact_has_the_model_as_a_layer(
    server: Registry, allowed: Reachable, holdings: Holdings
) -> None:
    address = server.push_artifact("artifact:v1", {"digits.onnx": MODEL, "weights.bin": OTHER})
    assert fetch(address, None, holdings, allowed=allowed).digest == _digest(MODEL)
    beside = source_of(address_of(address, "model")).beside(address_of(address, "model"), "weights.bin")
    assert fetch(beside.uri, None, holdings, allowed=allowed).digest == _digest(OTHER)


def test_an_image_that_is_not_there_is_not_found(
    server: Registry, allowed: Reachable, holdings: Holdings
) -> None:
    with pytest.raises(NotFound, match=mentions(f"oci://{server.address}/none:v1", "404")):
        fetch(f"oci://{server.address}/none:v1", None, holdings, allowed=allowed)


def test_a_registry_at_an_internal_address_is_refused(server: Registry, holdings: Holdings) -> None:
    with pytest.raises(Refused, match=mentions("127.0.0.1", "store.allowInternal")):
        fetch(f"oci://{server.address}/digits:v1", None, holdings)


@pytest.mark.parametrize(
    "address",
    ["oci://", "oci://host", "oci://host/Upper:v1", "oci://host/a:v1#../b.onnx", "oci://h/a@sha256:1"],
)
def test_what_is_not_an_image_is_refused_at_once(address: str) -> None:
    with pytest.raises(BadRequest, match=mentions("model.storageUri", address)):
        address_of(address, "model.storageUri")


def test_a_reference_has_its_parts() -> None:
    digest = _digest(b"")
    found = reference_of(f"ghcr.io:443/owner/name@{digest}#models/m.onnx", "uri")
    assert (found.host, found.name, found.version, found.path) == (
        "ghcr.io:443",
        "owner/name",
        digest,
        "models/m.onnx",
    )
    assert reference_of("ghcr.io/owner/name", "uri").version == "latest"
