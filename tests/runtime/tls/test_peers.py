"""Ports for other nodes demand certificates; the ports for clients beside them do not."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from edge_runtime.cli import main
from edge_runtime.connections import HttpClient, Resolver
from edge_runtime.errors import ConnectionFailed
from edge_runtime.grpc.forwarding import GrpcForwarder
from edge_runtime.node_services import NodeServices
from edge_runtime.rest.forwarding import ForwardedRequest, HttpForwarder
from edge_runtime.service_nodes import Addresses, PeerPorts, ServiceNodes
from edge_runtime.tls.certificates import Certificates
from edge_runtime.transports import Transports
from messages import mentions
from mounts import Mount, Signer, caller
from placed import SmallStore, adding, eventually, node, placement

ZEROS = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}]}
).encode()


@asynccontextmanager
async def serving(
    services: NodeServices, certificates: Certificates, ports: PeerPorts | None
) -> AsyncIterator[Transports]:
    transports = Transports(
        services.models,
        lambda: b"",
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        certificates=certificates,
        peer_ports=ports,
    )
    running = asyncio.create_task(transports.serve())
    try:
        yield transports
    finally:
        await asyncio.gather(transports.stop(), running)


@asynccontextmanager
async def gateway(folder: Path, certificates: Certificates) -> AsyncIterator[Transports]:
    """A runtime with ports for other nodes that serves `ones`."""
    store = SmallStore(adding(1))
    async with node(folder, store) as services:
        services.replace([placement("ones", store.digests[0])])
        await eventually(lambda: bool(services.models.index(only_ready=True)))
        async with serving(services, certificates, PeerPorts(0, 0)) as transports:
            yield transports


async def infer(url: str, tls: ssl.SSLContext | None = None) -> int:
    client = HttpClient(url, Resolver(), tls=tls)
    try:
        return (await client.request("POST", "/v2/models/ones/infer", [ZEROS], within=10)).status
    finally:
        client.close()


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "authority")


@pytest.fixture
def certificates(tmp_path: Path, signer: Signer) -> Certificates:
    return Certificates(Mount(tmp_path / "tls", signer.pair()).path)


async def test_only_holders_of_a_certificate_are_served_at_the_port_for_nodes(
    tmp_path: Path, signer: Signer, certificates: Certificates
) -> None:
    without = caller(tmp_path / "without", signer.pair(), with_certificate=False)
    async with gateway(tmp_path, certificates) as transports:
        assert transports.peer_ports is not None
        peer = f"localhost:{transports.peer_ports.http}"
        assert await infer(f"https://{peer}", certificates.client) == 200
        for url, tls in ((f"https://{peer}", without), (f"http://{peer}", None)):
            with pytest.raises(ConnectionFailed):
                await infer(url, tls)
        assert await infer(f"http://localhost:{transports.http_port}") == 200


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
