"""While the operator replaces its authority, no request between the parts of an installation fails.

The phases are those of the operator's schedule. In each one, the parts get their new files one after another,
as kubelets update the mounts of different nodes at different times. Requests over new connections flow
between all of them.
"""

from __future__ import annotations

import asyncio
import datetime
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_operator.authority import schedule
from edge_operator.authority.issuing import Pair, bundle, issue, new_authority
from edge_operator.authority.schedule import Authority
from edge_operator.certificates import client_context
from edge_runtime.connections import HttpClient
from edge_runtime.grpc.forwarding import GrpcForwarder
from edge_runtime.service_nodes import PeerPorts, ServiceNodes
from edge_runtime.store.app import StoreApp
from edge_runtime.store.serving import store_server
from edge_runtime.tls.certificates import Certificates
from edge_runtime.tls.peers import NamespacePeers
from edge_runtime.transports import Transports
from mounts import Mount
from placed import SmallStore, adding, eventually, node, placement

NOW = datetime.datetime.now(datetime.UTC)
NAMES = {
    "edge-a": ("localhost", "*.shop.svc"),
    "edge-b": ("localhost", "*.shop.svc"),
    "model-store": ("localhost", "model-store.edge-intelligence.svc"),
    "edge-operator": ("edge-operator.edge-intelligence.svc",),
}
READY = b"\x0a\x04ones"
"""A gRPC message: the name of the model."""
ENOUGH = 2
"""Requests of each kind after each change of files."""

Send = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Phase:
    """What the operator issues for a time: the signer, and the authorities to trust."""

    signer: Pair
    trusted: tuple[Pair, ...]

    def files(self, part: str) -> dict[str, bytes]:
        """The part's Secret."""
        pair = issue(self.signer, part, NAMES[part], NOW)
        authority = bundle(each.certificate for each in self.trusted)
        return {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority}


def rotation() -> Iterator[Phase]:
    """The phases of a rotation, with certificates that are valid today."""
    pairs = {"former": new_authority(NOW), "successor": new_authority(NOW)}
    former = Authority("former", NOW, NOW + schedule.AUTHORITY_LIFETIME)
    made = NOW + schedule.AUTHORITY_LIFETIME * 2 / 3
    assert schedule.changes([former], made).make
    both = (former, Authority("successor", made, made + schedule.AUTHORITY_LIFETIME))
    distributed = made + schedule.DISTRIBUTION
    for known, now in (
        ((former,), NOW),
        (both, made),
        (both, distributed),
        (both, distributed + schedule.LIFETIME),
    ):
        trusted = [each for each in known if each.identity not in schedule.changes(known, now).remove]
        signer = schedule.signer(trusted, now)
        assert signer is not None
        yield Phase(pairs[signer.identity], tuple(pairs[each.identity] for each in trusted))


@dataclass
class Traffic:
    """Requests that are sent again and again, each kind one after the other."""

    sends: dict[str, Send] = field(default_factory=dict)
    responses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    async def flow(self, kind: str, send: Send) -> None:
        """Sends requests of one kind until cancelled."""
        while True:
            try:
                await send()
            except Exception as error:
                self.failures.append(f"{kind}: {error}")
                await asyncio.sleep(0)
            else:
                self.responses[kind] += 1

    async def continues(self) -> None:
        """Waits until requests of every kind that began after the call were answered, or one failed."""
        before = self.responses.copy()
        async with asyncio.timeout(60):
            while not self.failures and any(  # noqa: ASYNC110 - no event
                self.responses[kind] <= before[kind] + ENOUGH for kind in self.sends
            ):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def runtime(folder: Path, certificates: Certificates) -> AsyncIterator[PeerPorts]:
    """A runtime of the namespace shop; yields its ports for other nodes."""
    store = SmallStore(adding(1))
    async with node(folder, store) as services:
        services.replace([placement("ones", store.digests[0])])
        await eventually(lambda: bool(services.models.index(only_ready=True)))
        transports = Transports(
            services.models,
            lambda: b"",
            host="127.0.0.1",
            http_port=0,
            grpc_port=0,
            certificates=certificates,
            peer_ports=PeerPorts(0, 0),
            peers=NamespacePeers("shop", lambda transport: None),
        )
        running = asyncio.create_task(transports.serve())
        assert transports.peer_ports is not None
        try:
            yield transports.peer_ports
        finally:
            await asyncio.gather(transports.stop(), running)


@asynccontextmanager
async def model_store(folder: Path, certificates: Certificates) -> AsyncIterator[int]:
    """A model store that requires certificates; yields its port."""
    server = store_server(StoreApp(folder, 1 << 20), "127.0.0.1", 0, certificates)
    running = asyncio.create_task(server.serve())
    try:
        yield server.ports[0]
    finally:
        server.should_exit = True
        await running


def over_http(port: int, path: str, certificates: Certificates | Path) -> Send:
    """Sends a request over a new connection."""

    async def send() -> None:
        tls = client_context(certificates) if isinstance(certificates, Path) else certificates.client
        client = HttpClient(f"https://localhost:{port}", tls=tls)
        try:
            response = await client.request("GET", path, within=30)
        finally:
            client.close()
        if response.status != 200:
            raise AssertionError(f"status {response.status}: {response.body.decode()}")

    return send


def over_grpc(forwarder: GrpcForwarder) -> Send:
    """Sends a call over the connection of a runtime, which is a new one after a change of its files."""

    async def send() -> None:
        found = await forwarder.call("ones", "inference.GRPCInferenceService/ModelReady", READY)
        assert found == b"\x08\x01"

    return send


@asynccontextmanager
async def installation(
    folder: Path, begin: Phase
) -> AsyncIterator[tuple[Mapping[str, Mount], Traffic, Check]]:
    """Two runtimes, a model store and an operator, with requests between them."""
    mounts = {part: Mount(folder / part / "tls", begin.files(part)) for part in NAMES}
    held = {part: Certificates(mount.path) for part, mount in mounts.items() if part != "edge-operator"}
    traffic = Traffic()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(model_store(folder / "store", held["model-store"]))
        ports = {
            part: await stack.enter_async_context(runtime(folder / part, held[part]))
            for part in ("edge-a", "edge-b")
        }
        for part, other in (("edge-a", "edge-b"), ("edge-b", "edge-a")):
            forwarder = _forwarder(part, other, ports[other], held[part])
            stack.push_async_callback(forwarder.close)
            traffic.sends |= {
                f"{part} to {other} over HTTP": over_http(
                    ports[other].http, "/v2/models/ones/ready", held[part]
                ),
                f"{part} to {other} over gRPC": over_grpc(forwarder),
                f"{part} to the store": over_http(store, "/v1/health/ready", held[part]),
            }
        operator = over_http(store, "/v1/health/ready", mounts["edge-operator"].path)
        traffic.sends["operator to the store"] = operator
        flows = [asyncio.create_task(traffic.flow(*each)) for each in traffic.sends.items()]

        def look(part: str) -> bool:
            return part not in held or held[part].look()

        yield mounts, traffic, look
        for each in flows:
            each.cancel()
        await asyncio.gather(*flows, return_exceptions=True)


Check = Callable[[str], bool]
"""Looks at the files of a part, as its process does every 2 s."""


def _forwarder(part: str, other: str, ports: PeerPorts, certificates: Certificates) -> GrpcForwarder:
    async def nodes_of(service: str) -> list[str]:
        return [other]

    return GrpcForwarder(ServiceNodes(part, nodes_of), lambda _: f"localhost:{ports.grpc}", certificates)


async def rotated(folder: Path) -> list[str]:
    """Goes through a rotation; returns the requests that failed."""
    begin, *phases = rotation()
    async with installation(folder, begin) as (mounts, traffic, look):
        await traffic.continues()
        for number, phase in enumerate(phases):
            for part in sorted(NAMES, reverse=bool(number % 2)):
                mounts[part].swap(phase.files(part))
                assert look(part)
                await traffic.continues()
        return traffic.failures


async def test_no_request_fails_while_the_authority_is_replaced(tmp_path: Path) -> None:
    assert await rotated(tmp_path) == []


async def test_requests_fail_if_the_successor_signs_before_all_parts_trust_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "DISTRIBUTION", datetime.timedelta(0))
    assert await rotated(tmp_path) != []


async def test_requests_fail_if_the_former_authority_goes_before_its_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LIFETIME", datetime.timedelta(0))
    assert await rotated(tmp_path) != []
