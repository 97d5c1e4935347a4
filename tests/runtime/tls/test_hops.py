"""From the entry node to the next stage: both present certificates and verify the other's."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edge_api import Duration
from edge_runtime.assignment import LinkSettings
from edge_runtime.connections import Connection, HttpClient, Resolver
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.links.sockets import Transfer
from edge_runtime.store.app import StoreApp
from edge_runtime.store.serving import store_server
from edge_runtime.tls.certificates import Certificates
from loops import in_thread
from messages import mentions
from mounts import Mount, Signer
from stages import alone, ask, entry, split


@dataclass(frozen=True)
class Pair:
    """An entry node and the next stage, with the mount of each."""

    sockets: Path
    near: Mount
    far: Mount
    certificates: tuple[Certificates, Certificates]

    def infer(self, image: Any) -> tuple[int, Any]:
        given = {
            "name": "image",
            "shape": list(image.shape),
            "datatype": "FP32",
            "data": image.ravel().tolist(),
        }
        return ask(self.sockets, "POST", "/v2/models/digits/infer", {"inputs": [given]})


@contextmanager
def _pair(folder: Path, model: bytes, near: dict[str, bytes], far: dict[str, bytes]) -> Iterator[Pair]:
    near_mount, far_mount = Mount(folder / "near", near), Mount(folder / "far", far)
    near_certificates, far_certificates = Certificates(near_mount.path), Certificates(far_mount.path)
    tail, placement = split(model, "pool1", folder, "https://localhost:1")
    with alone(tail, name="tail", certificates=far_certificates) as (port, _, _):
        placement["spec"]["routes"][0]["stages"][1]["address"] = f"https://localhost:{port}"
        with entry(folder, placement, certificates=near_certificates) as sockets:
            yield Pair(sockets, near_mount, far_mount, (near_certificates, far_certificates))


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(5).normal(size=(1, 1, 16, 16)).astype(np.float32)


def test_a_request_is_forwarded_to_the_next_stage_and_its_response_returned(
    tmp_path: Path, chain_model: bytes, image: Any
) -> None:
    signer = Signer(tmp_path / "authority")
    with _pair(tmp_path, chain_model, signer.pair(), signer.pair()) as pair:
        status, answer = pair.infer(image)
    assert status == 200, answer
    assert answer["parameters"]["route"] == "final@pool1"
    (whole,) = ort.InferenceSession(chain_model).run(["logits"], {"image": image})
    np.testing.assert_allclose(answer["outputs"][0]["data"], whole.ravel(), rtol=1e-5)


def test_a_next_stage_of_another_authority_is_not_sent_anything(
    tmp_path: Path, chain_model: bytes, image: Any
) -> None:
    ours, theirs = Signer(tmp_path / "ours"), Signer(tmp_path / "theirs")
    with _pair(tmp_path, chain_model, ours.pair(), theirs.pair()) as pair:
        status, answer = pair.infer(image)
    assert status == 503
    assert "certificate verify failed" in answer["error"]


def test_a_next_stage_of_another_name_is_not_sent_anything(
    tmp_path: Path, chain_model: bytes, image: Any
) -> None:
    signer = Signer(tmp_path / "authority")
    with _pair(tmp_path, chain_model, signer.pair(), signer.pair(hosts=("edge-c",))) as pair:
        status, answer = pair.infer(image)
    assert status == 503
    assert "not valid for 'localhost'" in answer["error"]


def test_a_next_stage_refuses_an_entry_node_of_another_authority(
    tmp_path: Path, chain_model: bytes, image: Any
) -> None:
    signer, stranger = Signer(tmp_path / "authority"), Signer(tmp_path / "stranger")
    near = stranger.pair() | {"ca.crt": signer.pair()["ca.crt"]}
    with _pair(tmp_path, chain_model, near, signer.pair()) as pair:
        status, answer = pair.infer(image)
    assert status == 503
    assert mentions("certificates", "rejected").search(answer["error"])


async def test_the_link_is_probed_with_the_certificate_too(tmp_path: Path) -> None:
    signer = Signer(tmp_path / "authority")
    far, near = (Mount(tmp_path / name, signer.pair()).path for name in ("far", "near"))
    store = StoreApp(tmp_path / "store", 1 << 20)
    server = store_server(store, "127.0.0.1", 0, Certificates(far))
    serving = asyncio.create_task(server.serve())
    changes: asyncio.Queue[bool] = asyncio.Queue()
    try:
        while not server.started:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
        probe = f"https://localhost:{server.ports[0]}/v1/probe"
        spec = LinkSettings(peer="cloud", probe=probe, interval=Duration(0.2))
        for tls, up in ((Certificates(near).client, True), (None, False)):
            monitor = LinkMonitor(spec, Resolver(), lambda **_: changes.put_nowait(True), tls=tls)
            monitor.start()
            async with asyncio.timeout(20):
                await changes.get()
            assert monitor.view().up is up
            await monitor.stop()
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize("guarded", [True, False], ids=["TLS", "plain"])
def test_what_has_arrived_is_known_while_a_request_is_on_its_way(tmp_path: Path, guarded: bool) -> None:
    mount = Mount(tmp_path / "tls", Signer(tmp_path / "authority").pair())
    certificates = Certificates(mount.path)
    size, first = 8 << 20, 64 << 10

    async def main(stop: asyncio.Event) -> None:
        go_on = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(first)
            await go_on.wait()
            await reader.readexactly(size - first)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await reader.read()
            writer.close()

        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, first)
        listening.bind(("127.0.0.1", 0))
        tls = certificates.server if guarded else None
        async with await asyncio.start_server(serve, sock=listening, ssl=tls) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"http{'s' if guarded else ''}://localhost:{port}"
            spec = LinkSettings(peer="cloud", probe=url)
            monitor = LinkMonitor(spec, Resolver(), lambda **_: None, tls=certificates.client)
            client, begun = HttpClient(url, tls=certificates.client), asyncio.Queue[Transfer]()

            def begin(connection: Connection) -> None:
                assert connection.socket is not None
                begun.put_nowait(monitor.begin(connection.socket, size))

            request = asyncio.create_task(
                client.request("POST", "/", [bytes(size)], within=30, on_start=begin)
            )
            transfer = await begun.get()
            async with asyncio.timeout(20):
                while transfer.moved() < first:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.01)
            assert first <= transfer.moved() < size
            go_on.set()
            assert (await request).status == 200
            assert transfer.moved() == size
            monitor.finish(transfer, 0.0)
            assert monitor.report().up is True
            assert monitor.report().round_trip is not None
            client.close()

    with in_thread(main):
        pass


def test_both_ends_follow_a_new_authority_without_a_restart(
    tmp_path: Path, chain_model: bytes, image: Any
) -> None:
    before, after = Signer(tmp_path / "before"), Signer(tmp_path / "after")
    with _pair(tmp_path, chain_model, before.pair(), before.pair()) as pair:
        assert pair.infer(image)[0] == 200
        for mount in (pair.near, pair.far):
            mount.swap(after.pair())
        assert pair.infer(image)[0] == 200  # over the existing connection
        pause = threading.Event()
        root = after.pair()["ca.crt"]
        for _ in range(400):
            if all(c.current.authority == root for c in pair.certificates):
                break
            pause.wait(0.05)
        assert {pair.infer(image)[0] for _ in range(5)} == {200}
