"""A model store with TLS for operator, runtimes and probes, and without TLS for the kubelet."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from chains import SERVICE, branches, model_described, stand_in
from edge_operator.errors import StoreError
from edge_operator.store import ModelStore
from edge_runtime import model_store
from edge_runtime.errors import Unreachable
from edge_runtime.tls.certificates import Certificates
from messages import mentions
from mounts import Mount, Signer, caller
from waiting import responds, until


@dataclass(frozen=True)
class Guarded:
    """A store in a separate process, started as the chart does with a Secret."""

    url: str
    health: str
    mount: Mount

    def operators(self, mount: Mount) -> ModelStore:
        return ModelStore(self.url, certificates=mount.path)


@contextmanager
def guarded(folder: Path, signer: Signer) -> Iterator[Guarded]:
    mount = Mount(folder / "store-tls", signer.pair())
    with socket.socket() as one, socket.socket() as two:
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        port, health = one.getsockname()[1], two.getsockname()[1]
    argv = [sys.executable, "-m", "edge_runtime.cli", "store", "--root", str(folder / "store")]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--health-port", str(health)]
    with subprocess.Popen([*argv, "--tls-dir", str(mount.path)]) as process:
        try:
            plain = f"http://127.0.0.1:{health}"
            until(lambda: responds(f"{plain}/v1/health/ready"), "the store listens")
            yield Guarded(f"https://localhost:{port}", plain, mount)
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "authority")


@pytest.fixture
def store(tmp_path: Path, signer: Signer) -> Iterator[Guarded]:
    with guarded(tmp_path, signer) as served:
        context = caller(tmp_path / "user", signer.pair())
        with httpx.Client(verify=context) as user:
            user.put(f"{served.url}/v1/files/branches.onnx", content=branches()).raise_for_status()
        yield served


async def test_operator_and_runtime_ask_it_by_tls_and_follow_a_new_authority(
    store: Guarded, signer: Signer, tmp_path: Path
) -> None:
    mine, theirs = (Mount(tmp_path / name, signer.pair()) for name in ("operator", "runtime"))
    operator, certificates = store.operators(mine), Certificates(theirs.path)
    card = operator.register(SERVICE.spec.model)
    runtime = model_store.ModelStore(store.url, tls=certificates.client)
    assert len(await runtime.blob(card.digest)) == card.size == len(branches())
    runtime.close()

    after = Signer(tmp_path / "after")
    for mount in (store.mount, mine, theirs):
        mount.swap(after.pair())
    assert certificates.look() is True

    def renewed() -> bool:
        try:
            return operator.register(SERVICE.spec.model) == card
        except StoreError:
            return False

    until(renewed, "the store's look at its files")
    assert len(await runtime.blob(card.digest)) == card.size
    runtime.close()


def test_handshakes_with_a_certificate_of_another_authority_are_counted(
    store: Guarded, tmp_path: Path
) -> None:
    stranger = store.operators(Mount(tmp_path / "stranger", Signer(tmp_path / "other").pair()))
    with pytest.raises(StoreError):
        stranger.layers("sha256:00")
    counted = 'edge_store_failed_handshakes_total{cause="certificate"} 1.0'
    until(lambda: counted in httpx.get(f"{store.health}/metrics").text, "the count of the handshake")


def test_a_measurement_and_a_runtime_fetch_their_slices_by_tls(
    store: Guarded, signer: Signer, tmp_path: Path
) -> None:
    folder = Mount(tmp_path / "clients", signer.pair()).path
    operator = ModelStore(store.url, certificates=folder)
    digest = operator.register(SERVICE.spec.model).digest
    asked = ["--store", store.url, "--tls-dir", str(folder)]
    command = [sys.executable, "-m", "edge_runtime.cli"]
    measure = ["profile-device", "--model", digest, "--device-class", "camera", "--node", "cam"]
    measure += ["--selection", "factory-1"]
    subprocess.run([*command, *measure, *asked, "--seconds", "0.02"], check=True, timeout=60)
    profile = operator.profile(digest, "factory-1", "camera")
    assert profile is not None
    assert profile.node == "cam"
    assert profile.requests is not None
    assert profile.requests.receive_seconds > 0

    made = operator.slice(digest, ["image"], ["logits"])
    slice_ = {"inputs": model_described(made.inputs), "outputs": model_described(made.outputs)}
    (tmp_path / "placement.json").write_text(json.dumps(stand_in("tail", slice_ | {"digest": made.digest})))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        health = free.getsockname()[1]
    run = ["run", "--service", "tail", "--namespace", "shop", "--node", "cloud", "--host", "127.0.0.1"]
    run += ["--http-port", "0", "--grpc-port", "0", "--health-port", str(health)]
    run += ["--placement-file", str(tmp_path / "placement.json"), "--cache-dir", str(tmp_path / "cache")]
    with subprocess.Popen([*command, *run, *asked]) as process:
        try:
            until(lambda: _ready(health), "the runtime to have its slice")
            assert process.poll() is None
        finally:
            process.terminate()


def _ready(port: int) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/v2/health/ready").status_code == 200
    return False


async def test_a_client_without_a_certificate_of_the_authority_gets_nothing(
    store: Guarded, signer: Signer, tmp_path: Path
) -> None:
    stranger = Signer(tmp_path / "stranger")
    of_another = Mount(tmp_path / "another", stranger.pair())
    with pytest.raises(StoreError, match="certificate verify failed"):
        store.operators(of_another).register(SERVICE.spec.model)
    unknown = Mount(tmp_path / "unknown", stranger.pair() | {"ca.crt": signer.pair()["ca.crt"]})
    with pytest.raises(StoreError, match="no response"):
        store.operators(unknown).register(SERVICE.spec.model)
    with pytest.raises(Unreachable, match="certificate verify failed"):
        await model_store.ModelStore(store.url).blob("sha256:" + "0" * 64)


def test_a_user_without_a_certificate_gets_nothing(store: Guarded, signer: Signer, tmp_path: Path) -> None:
    nobody = caller(tmp_path / "nobody", signer.pair(), with_certificate=False)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{store.url}/v1/files/branches.onnx", verify=nobody)


def test_files_of_the_operators_that_cannot_be_used_are_named(
    store: Guarded, signer: Signer, tmp_path: Path
) -> None:
    mount = Mount(tmp_path / "operator", signer.pair() | {"ca.crt": b""})
    with pytest.raises(StoreError, match=mentions("ca.crt:")) as raised:
        store.operators(mount).register(SERVICE.spec.model)
    assert raised.value.reason == "Unreachable"


def test_the_kubelet_gets_health_and_nothing_else(store: Guarded) -> None:
    assert httpx.get(f"{store.health}/v1/health/live").status_code == 200
    answer = httpx.get(f"{store.health}/v1/files/branches.onnx")
    assert answer.status_code == 404
    assert "/v1/health/live, /v1/health/ready" in answer.json()["error"]
