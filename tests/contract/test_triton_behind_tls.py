"""A Triton server with scheme HTTPS: the operator's model control and a runtime's hop through one proxy.

Both present their certificate and verify the proxy's.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from chains import IMAGE, branches
from edge_api.devicepools import TritonServer
from edge_api.tensors import Tensor
from edge_operator.errors import TailRefusedError, TritonError, TritonUnreachableError, TritonUntrustedError
from edge_operator.store import Blob
from edge_operator.tritons.tail_models import Tail
from edge_operator.tritons.triton import Opener, TritonServers
from edge_runtime.tls.certificates import Certificates
from messages import mentions
from mounts import Mount, Signer
from proxies import Proxy, TritonLike, tls_proxy, triton_like
from stages import alone, ask, entry, split
from waiting import until

Files = dict[str, bytes]


@dataclass(frozen=True)
class Cloud:
    """A server behind a proxy that terminates TLS, the operator's client for it, and the mounts of each."""

    server: TritonServer
    triton: TritonLike
    control: TritonServers
    proxys: Mount
    operators: Mount
    proxy: Proxy

    def tail(self) -> Tail:
        tensor = Tensor(name="joined", datatype="FP32", shape=(-1, 6))
        return Tail(
            self.server.url, "tail", "onnxruntime", "sha256:" + "0" * 64, (tensor,), (tensor,), owner="ours"
        )

    def ready(self) -> frozenset[str]:
        return self.control.ready(self.server.url)


@contextmanager
def cloud(folder: Path, operators: Files, proxys: Files, inferring: int = 1) -> Iterator[Cloud]:
    mine, theirs = Mount(folder / "operator", operators), Mount(folder / "proxy", proxys)
    certificates = Certificates(theirs.path)
    with triton_like(inferring) as triton, tls_proxy(certificates, triton.port) as proxy:
        body = {"name": "cloud", "deviceClass": "cloud", "nodeSelector": {"class": "cloud"}}
        body |= {"httpAddress": f"localhost:{proxy.port}", "scheme": "HTTPS"}
        server = TritonServer.model_validate(body)
        yield Cloud(server, triton, TritonServers(mine.path), theirs, mine, proxy)


def blob(content: bytes) -> Opener:
    chunks = [content[at : at + 1000] for at in range(0, len(content), 1000)]
    return lambda: nullcontext(Blob(len(content), chunks))


def infer(sockets: Path) -> tuple[int, Any]:
    given = {"name": "image", "shape": list(IMAGE.shape), "datatype": "FP32", "data": IMAGE.ravel().tolist()}
    return ask(sockets, "POST", "/v2/models/digits/infer", {"inputs": [given]})


def test_operator_and_runtime_use_one_server_by_tls_and_follow_a_new_authority(tmp_path: Path) -> None:
    before, after = Signer(tmp_path / "before"), Signer(tmp_path / "after")
    (whole,) = ort.InferenceSession(branches()).run(["logits"], {"image": IMAGE})
    file, placement = split(branches(), "joined", tmp_path, "")
    with ExitStack() as stack:
        port, _, _ = stack.enter_context(alone(file, name="tail"))
        it = stack.enter_context(cloud(tmp_path, before.pair(), before.pair(), port))
        it.control.load(it.tail(), blob(file.read_bytes()))
        assert it.triton.models == {"tail": file.read_bytes()}
        placement["spec"]["routes"][0]["stages"][1] |= {"runtime": "Triton", "address": it.server.url}
        runtimes = Mount(tmp_path / "runtime", before.pair())
        hops = Certificates(runtimes.path)
        sockets = stack.enter_context(entry(tmp_path, placement, certificates=hops))
        status, answer = infer(sockets)
        assert status == 200, answer
        np.testing.assert_allclose(answer["outputs"][0]["data"], whole.ravel(), rtol=1e-5, atol=1e-6)
        assert it.ready() == {"tail"}

        for mount in (it.proxys, it.operators, runtimes):
            mount.swap(after.pair())
        assert it.proxy.certificates.look() is True
        assert it.ready() == {"tail"}  # from the next call
        until(lambda: hops.current.authority == after.pair()["ca.crt"], "the runtime's look at its files")
        it.proxy.drop()
        before_it = it.proxy.handshakes
        assert infer(sockets)[0] == 200
        assert it.proxy.handshakes == before_it + 1

        assert it.control.parameters(it.server.url, "tail")["owner"] == "ours"
        it.control.unload(it.server.url, "tail")
        assert it.control.parameters(it.server.url, "tail") == {}
        assert it.ready() == frozenset()
        status, answer = infer(sockets)
        assert (status, "404" in answer["error"]) == (503, True)


def test_a_proxy_of_another_authority_is_sent_nothing(tmp_path: Path) -> None:
    ours, theirs = Signer(tmp_path / "ours"), Signer(tmp_path / "theirs")
    with cloud(tmp_path, ours.pair(), theirs.pair()) as it:
        with pytest.raises(
            TritonUntrustedError, match=mentions("tail", "ca.crt", "operator.tlsSecret")
        ) as raised:
            it.control.load(it.tail(), blob(b"a slice"))
        assert it.triton.models == {}
    assert it.server.url in str(raised.value)


def test_a_proxy_of_another_name_is_sent_nothing(tmp_path: Path) -> None:
    signer = Signer(tmp_path / "authority")
    with cloud(tmp_path, signer.pair(), signer.pair(hosts=("triton.test",))) as it:
        with pytest.raises(TritonUntrustedError, match=r"not valid for 'localhost'.*httpAddress"):
            it.control.load(it.tail(), blob(b"a slice"))
        assert it.triton.models == {}


def test_an_operator_that_the_proxy_does_not_trust_gets_an_error(tmp_path: Path) -> None:
    signer, stranger = Signer(tmp_path / "authority"), Signer(tmp_path / "stranger")
    mine = stranger.pair() | {"ca.crt": signer.pair()["ca.crt"]}
    with cloud(tmp_path, mine, signer.pair()) as it:
        # A server may or might not send the cause before it closes.
        with pytest.raises(TritonUnreachableError, match=r"tls\.crt of operator\.tlsSecret"):
            it.control.load(it.tail(), blob(b"a slice"))
        assert it.triton.models == {}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"ca.crt": b""}, r"ca\.crt: "),
        ({"tls.key": b""}, r"tls\.crt and .*tls\.key: "),
        ({"tls.crt": b"half a certificate"}, r"tls\.crt and .*tls\.key: "),
    ],
)
def test_files_of_the_operators_that_cannot_be_used_are_named_until_they_are_mended(
    tmp_path: Path, broken: Files, said: str
) -> None:
    signer = Signer(tmp_path / "authority")
    with cloud(tmp_path, signer.pair() | broken, signer.pair()) as it:
        with pytest.raises(TritonUntrustedError, match=said):
            it.ready()
        it.operators.swap(signer.pair())
        assert it.ready() == frozenset()


def test_an_operator_without_certificates_names_the_value_of_the_chart() -> None:
    with pytest.raises(TritonUntrustedError, match=mentions("operator.tlsSecret")):
        TritonServers().ready("https://localhost:1")


def test_a_server_without_tls_is_distinguished_from_one_that_is_away(tmp_path: Path) -> None:
    signer = Signer(tmp_path / "authority")
    with cloud(tmp_path, signer.pair(), signer.pair()) as it:
        with pytest.raises(TritonUntrustedError, match="wrong version number"):
            it.control.ready(f"https://localhost:{it.triton.port}")
        assert it.control.ready(f"http://localhost:{it.triton.port}") == frozenset()
    with pytest.raises(TritonUnreachableError, match="no response") as raised:
        it.ready()
    assert not isinstance(raised.value, TritonUntrustedError)


@pytest.mark.parametrize(
    ("page", "kind", "said"),
    [
        ("502 Bad Gateway", TritonUnreachableError, "(HTTP 502 Bad Gateway)"),
        (
            "400 The SSL certificate error",
            TritonUntrustedError,
            "(HTTP 400 The SSL certificate error)",
        ),
        ("403 Forbidden", TailRefusedError, "(HTTP 403 Forbidden)"),
    ],
)
def test_what_a_proxy_answers_by_itself_is_not_taken_for_tritons_word(
    tmp_path: Path, page: str, kind: type[TritonError], said: str
) -> None:
    signer = Signer(tmp_path / "authority")
    with cloud(tmp_path, signer.pair(), signer.pair()) as it:
        it.triton.page = (int(page[:3]), f"<html><h1>{page}</h1></html>")
        with pytest.raises(kind, match=re.escape(said)):
            it.ready()


@pytest.mark.parametrize("size", [0, 1, 3 << 18, (3 << 19) + 1])
def test_a_slice_of_any_size_arrives_whole(tmp_path: Path, size: int) -> None:
    signer = Signer(tmp_path / "authority")
    onnx = np.random.default_rng(size).bytes(size)
    with cloud(tmp_path, signer.pair(), signer.pair()) as it:
        for backend in ("onnxruntime", "python"):
            it.control.load(replace(it.tail(), name=backend, backend=backend), blob(onnx))
            assert it.triton.models[backend] == onnx


def test_a_server_that_accepts_but_never_responds_is_away_after_the_time_for_connecting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_operator.tritons.triton._CONNECT_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TritonUnreachableError, match="timed out"):
            TritonServers().ready(address)
