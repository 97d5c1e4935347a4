"""Ports for other nodes admit runtimes of the namespace alone; the ports for clients beside them everyone."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from edge_runtime.cli import main
from edge_runtime.connections import HttpClient, Resolver, Response
from edge_runtime.errors import ConnectionFailed, Forbidden
from edge_runtime.grpc.forwarding import GrpcForwarder
from edge_runtime.node_services import NodeServices
from edge_runtime.rest.forwarding import ForwardedRequest, HttpForwarder
from edge_runtime.service_nodes import Addresses, PeerPorts, ServiceNodes
from edge_runtime.tls.certificates import Certificates
from edge_runtime.tls.peers import NamespacePeers
from edge_runtime.transports import Transports
from messages import mentions
from mounts import Mount, Signer, caller
from placed import SmallStore, adding, eventually, node, placement

ZEROS = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}]}
).encode()

RUNTIMES = ("localhost", "*.shop.svc", "*.shop.svc.cluster.local")
"""Names in the certificate of the runtimes of the namespace shop, and the host of these tests."""
OTHERS = (
    ("*.warehouse.svc", "*.warehouse.svc.cluster.local"),
    ("edge-operator.shop.svc",),
    ("model-store.shop", "model-store.shop.svc", "model-store.shop.svc.cluster.local"),
    ("*.shop.svc.warehouse.svc", "shop.svc"),
)
"""Names in other certificates of the installation."""


@asynccontextmanager
async def serving(
    services: NodeServices,
    certificates: Certificates,
    ports: PeerPorts | None,
    peers: NamespacePeers | None,
) -> AsyncIterator[Transports]:
    transports = Transports(
        services.models,
        lambda: b"",
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        certificates=certificates,
        peer_ports=ports,
        peers=peers,
    )
    running = asyncio.create_task(transports.serve())
    try:
        yield transports
    finally:
        await asyncio.gather(transports.stop(), running)


@asynccontextmanager
async def gateway(
    folder: Path, certificates: Certificates, refused: Callable[[str], None] = print
) -> AsyncIterator[Transports]:
    """A runtime of the namespace shop with ports for other nodes that serves `ones`."""
    peers = NamespacePeers("shop", refused)
    store = SmallStore(adding(1))
    async with node(folder, store) as services:
        services.replace([placement("ones", store.digests[0])])
        await eventually(lambda: bool(services.models.index(only_ready=True)))
        async with serving(services, certificates, PeerPorts(0, 0), peers) as transports:
            yield transports


async def infer(url: str, tls: ssl.SSLContext | None = None) -> Response:
    client = HttpClient(url, Resolver(), tls=tls)
    try:
        return await client.request("POST", "/v2/models/ones/infer", [ZEROS], within=10)
    finally:
        client.close()


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "authority")


@pytest.fixture
def certificates(tmp_path: Path, signer: Signer) -> Certificates:
    return Certificates(Mount(tmp_path / "tls", signer.pair(hosts=RUNTIMES)).path)


async def test_only_holders_of_a_certificate_are_served_at_the_port_for_nodes(
    tmp_path: Path, signer: Signer, certificates: Certificates
) -> None:
    without = caller(tmp_path / "without", signer.pair(), with_certificate=False)
    async with gateway(tmp_path, certificates) as transports:
        assert transports.peer_ports is not None
        peer = f"localhost:{transports.peer_ports.http}"
        assert (await infer(f"https://{peer}", certificates.client)).status == 200
        for url, tls in ((f"https://{peer}", without), (f"http://{peer}", None)):
            with pytest.raises(ConnectionFailed):
                await infer(url, tls)
        assert (await infer(f"http://localhost:{transports.http_port}")).status == 200


@pytest.mark.parametrize("names", OTHERS)
async def test_another_certificate_of_the_installation_is_refused_over_http(
    tmp_path: Path, signer: Signer, certificates: Certificates, names: tuple[str, ...]
) -> None:
    refused: list[str] = []
    other = caller(tmp_path / "other", signer.pair(hosts=names))
    async with gateway(tmp_path, certificates, refused.append) as transports:
        assert transports.peer_ports is not None
        response = await infer(f"https://localhost:{transports.peer_ports.http}", other)
        assert response.status == 403
        said = mentions("client certificate", min(names), "*.shop.svc", "port for clients")
        assert said.search(response.json()["error"])
        assert refused == ["http"]
        assert (await infer(f"http://localhost:{transports.http_port}")).status == 200


@pytest.mark.parametrize("names", OTHERS)
async def test_another_certificate_of_the_installation_is_refused_over_grpc(
    tmp_path: Path, signer: Signer, certificates: Certificates, names: tuple[str, ...]
) -> None:
    refused: list[str] = []
    files = signer.pair(hosts=names)
    async with gateway(tmp_path, certificates, refused.append) as transports:
        assert transports.peer_ports is not None
        credentials = grpc.ssl_channel_credentials(files["ca.crt"], files["tls.key"], files["tls.crt"])
        async with grpc.aio.secure_channel(f"localhost:{transports.peer_ports.grpc}", credentials) as channel:
            unary: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
            stream: Any = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
            calls: list[Callable[[], Any]] = [
                lambda: unary(b"", timeout=10),
                lambda: watch(b"", timeout=10).read(),
                lambda: stream(iter([b""]), timeout=10).read(),
            ]
            for call in calls:
                with pytest.raises(grpc.aio.AioRpcError, match="port for clients") as caught:
                    await call()
                assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert refused == ["grpc"] * 3


async def test_a_runtime_of_the_namespace_is_admitted_over_grpc(
    tmp_path: Path, signer: Signer, certificates: Certificates
) -> None:
    files = signer.pair(hosts=("*.SHOP.svc", "*.shop.svc.cluster.local"))
    async with gateway(tmp_path, certificates) as transports:
        assert transports.peer_ports is not None
        credentials = grpc.ssl_channel_credentials(files["ca.crt"], files["tls.key"], files["tls.crt"])
        async with grpc.aio.secure_channel(f"localhost:{transports.peer_ports.grpc}", credentials) as channel:
            unary: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
            assert await unary(b"", timeout=10)
            assert await watch(b"", timeout=10).read()


def test_refused_clients_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    peers = NamespacePeers("shop", lambda transport: None, clock=lambda: now[0])
    for now[0] in (0.0, 1.0, 59.0, 60.0):
        with pytest.raises(Forbidden):
            peers.admit("http", ["*.warehouse.svc"])
    said = [mentions("http", "*.warehouse.svc", "*.shop.svc").search(each) for each in caplog.messages]
    assert len(said) == 2
    assert all(said)


async def test_requests_are_forwarded_by_tls_to_nodes_that_are_known_to_serve_it(
    tmp_path: Path, certificates: Certificates
) -> None:
    outcomes: list[str] = []
    async with gateway(tmp_path, certificates) as transports:
        assert transports.peer_ports is not None
        ready: set[str] = set()
        ports = (transports.http_port, transports.grpc_port, True, transports.peer_ports, ready)
        where = _Local("shop", "cluster.local", *ports)

        async def nodes_of(service: str) -> list[str]:
            return ["edge-runtime-edge-b"]

        nodes = ServiceNodes("edge-runtime-edge-a", nodes_of)
        http = HttpForwarder(nodes, where.url, Resolver(), certificates.client, outcomes.append)
        by_grpc = GrpcForwarder(nodes, where.target, certificates, outcomes.append, where.secured)
        request = ForwardedRequest("POST", "/v2/models/ones/infer", {}, ZEROS)
        message = b"\x0a\x04ones"
        for known in (set[str](), {"edge-runtime-edge-b"}):
            ready |= known
            status, _, _ = await http.send("ones", request)
            assert status == 200
            assert (
                await by_grpc.call("ones", "inference.GRPCInferenceService/ModelReady", message)
                == b"\x08\x01"
            )
        http.close()
        await by_grpc.close()
    assert outcomes == ["ok"] * 4


class _Local(Addresses):
    """The addresses, all on this machine."""

    def _host(self, runtime: str) -> str:
        return "localhost"


async def test_a_call_without_a_certificate_is_refused_at_the_grpc_port_for_nodes(
    tmp_path: Path, signer: Signer, certificates: Certificates
) -> None:
    async with gateway(tmp_path, certificates) as transports:
        assert transports.peer_ports is not None
        credentials = grpc.ssl_channel_credentials(signer.pair()["ca.crt"])
        async with grpc.aio.secure_channel(f"localhost:{transports.peer_ports.grpc}", credentials) as channel:
            call: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(f"localhost:{transports.grpc_port}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            assert await call(b"", timeout=10)


def test_addresses_of_an_earlier_version_are_those_for_clients() -> None:
    peers = PeerPorts(8443, 8444)
    addresses = Addresses("shop", "cluster.local", 8080, 8081, tls=True, peers=peers, ready={"new"})
    assert addresses.url("new") == "https://new.shop.svc.cluster.local:8443"
    assert addresses.target("new") == "new.shop.svc.cluster.local:8444"
    assert addresses.url("old") == "http://old.shop.svc.cluster.local:8080"
    assert addresses.target("old") == "old.shop.svc.cluster.local:8081"
    assert (addresses.secured("new"), addresses.secured("old")) == (True, False)


def test_ports_for_nodes_without_certificates_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--namespace", "shop", "--node", "edge-a", "--store", "http://store:8080")
    assert main(["run", *given, "--cache-dir", str(tmp_path), "--peer-port", "8443"]) == 1
    assert mentions("--peer-port", "--tls-dir").search(capsys.readouterr().err)
