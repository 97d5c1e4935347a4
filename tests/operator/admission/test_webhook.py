"""The webhook over TLS: verdicts, bounds, and a certificate that is replaced while it serves."""

import asyncio
import datetime
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_socket

from edge_api import reasons
from edge_operator.admission import server as servers
from edge_operator.admission.process import serve
from edge_operator.admission.served_certificate import EVERY, ServedCertificate
from edge_operator.admission.server import Server
from edge_operator.admission.states import READ, Rules, State
from edge_operator.authority.issuing import Pair, issue, new_authority
from edge_operator.cluster import Kind, Object
from edge_operator.errors import CertificatesError
from edge_operator.list_watch import Listed
from edge_operator.observed.watching import Watching
from messages import mentions

NOW = datetime.datetime.now(datetime.UTC)
NAME = "edge-admission.edge-intelligence.svc"
SERVICE = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "digits", "namespace": "shop"},
    "spec": {
        "model": {"storageUri": "file:///etc/digits.onnx"},
        "slo": {"latency": "100ms"},
        "devicePool": "edge",
    },
}


def asked(body: Object = SERVICE) -> Object:
    request = {
        "uid": "1",
        "kind": {"kind": body["kind"]},
        "operation": "CREATE",
        "namespace": "shop",
        "name": body["metadata"]["name"],
        "object": body,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def write(folder: Path, pair: Pair) -> bytes:
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    return pair.certificate


@pytest.fixture
def sockets() -> None:
    """Lets a test open sockets."""
    pytest_socket.enable_socket()


class Empty:
    """An API server without objects."""

    def objects(self, kind: Kind, namespace: str | None) -> Listed:
        return Listed([], "1")

    def watch(self, kind: Kind, namespace: str | None, version: str) -> Any:
        return iter(())


def presented(port: int, authority: bytes) -> bytes:
    """The certificate of a new connection, in DER, verified by its name and its authority."""
    context = ssl.create_default_context(cadata=authority.decode())
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as secured,
    ):
        found = secured.getpeercert(binary_form=True)
    assert found is not None
    return found


@asynccontextmanager
async def served(folder: Path, certificate: ServedCertificate) -> AsyncIterator[int]:
    """The webhook of a cluster without objects; yields its port."""
    watching = Watching(Empty(), READ)
    for kind in READ:
        watching.read(kind)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(serve(watching, certificate, Rules(), listening))
        try:
            yield listening.getsockname()[1]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_replaced_certificate_is_presented_to_new_connections_and_old_ones_stay_open(
    tmp_path: Path, sockets: None
) -> None:
    authority = new_authority(NOW)
    first = write(tmp_path, issue(authority, "a", [NAME], NOW))
    certificate = ServedCertificate(tmp_path)
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    async with served(tmp_path, certificate) as port, httpx.AsyncClient(verify=context) as client:
        url, as_named = f"https://127.0.0.1:{port}/review", {"sni_hostname": NAME}
        found = await client.post(url, json=asked(), extensions=as_named)
        assert found.json()["response"]["status"]["reason"] == reasons.MODEL_NOT_SHARED
        assert await asyncio.to_thread(presented, port, authority.certificate) == ssl.PEM_cert_to_DER_cert(
            first.decode()
        )
        second = write(tmp_path, issue(authority, "b", [NAME], NOW))
        assert certificate.look()
        assert await asyncio.to_thread(presented, port, authority.certificate) == ssl.PEM_cert_to_DER_cert(
            second.decode()
        )
        again = await client.post(url, json=asked(), extensions=as_named)
        assert again.json() == found.json()


async def test_files_that_do_not_match_leave_the_certificate_in_use(tmp_path: Path, sockets: None) -> None:
    authority = new_authority(NOW)
    pair = issue(authority, "a", [NAME], NOW)
    write(tmp_path, pair)
    certificate = ServedCertificate(tmp_path)
    async with served(tmp_path, certificate) as port:
        (tmp_path / "tls.key").write_bytes(issue(authority, "b", [NAME], NOW).key)
        with pytest.raises(CertificatesError, match=mentions("tls.crt", "tls.key")):
            certificate.look()
        assert not certificate.look()
        assert await asyncio.to_thread(presented, port, authority.certificate) == ssl.PEM_cert_to_DER_cert(
            pair.certificate.decode()
        )


async def test_files_are_read_repeatedly(tmp_path: Path) -> None:
    authority = new_authority(NOW)
    write(tmp_path, issue(authority, "a", [NAME], NOW))
    certificate, pauses = ServedCertificate(tmp_path), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            (tmp_path / "tls.crt").write_bytes(b"")
        elif len(pauses) == 2:
            write(tmp_path, issue(authority, "b", [NAME], NOW))
        else:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await certificate.follow(pause)
    assert pauses == [EVERY] * 3
    assert not certificate.look()


def test_a_folder_without_a_certificate_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CertificatesError, match=mentions(str(tmp_path), "tls.crt")):
        ServedCertificate(tmp_path)


def client_of(
    state: Callable[[], State] = State, missing: tuple[str, ...] = (), deadline: float = 60.0
) -> httpx.AsyncClient:
    app = Server(state, lambda: missing, deadline=deadline).app()
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://webhook")


async def test_it_is_ready_and_reviews_once_every_kind_was_read() -> None:
    async with client_of(missing=("tenants",)) as client:
        assert (await client.get("/healthz")).status_code == 200
        ready, review = await client.get("/readyz"), await client.post("/review", json=asked())
        assert (ready.status_code, review.status_code) == (503, 503)
        assert "tenants" in ready.text
    async with client_of() as client:
        assert (await client.get("/readyz")).status_code == 200


async def test_a_body_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LARGEST", 100)
    async with client_of() as client:
        assert (await client.post("/review", content=b"x" * 101)).status_code == 413


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, json.dumps({"kind": "x"}).encode()])
async def test_what_is_not_a_review_is_a_bad_request(content: bytes) -> None:
    async with client_of() as client:
        assert (await client.post("/review", content=content)).status_code == 400


async def test_a_review_beyond_its_deadline_ends_without_a_verdict() -> None:
    over = threading.Event()

    def slow() -> State:
        over.wait(60)
        return State()

    async with client_of(slow, deadline=0.05) as client:
        assert (await client.post("/review", json=asked())).status_code == 504
    over.set()


async def test_a_review_that_fails_has_no_verdict() -> None:
    def broken() -> State:
        raise KeyError("metadata")

    async with client_of(broken) as client:
        assert (await client.post("/review", json=asked())).status_code == 500
