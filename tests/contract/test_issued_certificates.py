"""Runtimes serve and connect with the certificates that the operator issues."""

import datetime
import ssl
from pathlib import Path

import pytest

from edge_operator.authority.issuing import Pair, bundle, issue, new_authority
from edge_operator.certificates import client_context
from edge_runtime.tls.certificates import Certificates

NOW = datetime.datetime.now(datetime.UTC)
NAMES = ("*.shop.svc.cluster.local",)


def folder(path: Path, signer: Pair, *trusted: Pair) -> Path:
    """A folder as the kubelet mounts an issued Secret."""
    path.mkdir()
    pair = issue(signer, "edge-runtime-tls.shop", NAMES, NOW)
    (path / "tls.crt").write_bytes(pair.certificate)
    (path / "tls.key").write_bytes(pair.key)
    (path / "ca.crt").write_bytes(bundle(each.certificate for each in trusted))
    return path


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """Completes a handshake in memory. Raises SSLError if a side refuses the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert [end.version() for end in ends] == ["TLSv1.3", "TLSv1.3"]


def test_a_runtime_and_the_operator_reach_a_runtime_by_the_name_of_its_service(tmp_path: Path) -> None:
    authority = new_authority(NOW)
    at = folder(tmp_path / "tls", authority, authority)
    runtime = Certificates(at)
    host = "edge-runtime-edge-a.shop.svc.cluster.local"
    shake_hands(runtime.client, runtime.server, host)
    shake_hands(client_context(at), runtime.server, host)


def test_a_strict_client_accepts_the_chain(tmp_path: Path) -> None:
    authority = new_authority(NOW)
    at = folder(tmp_path / "tls", authority, authority)
    strict = client_context(at)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    shake_hands(strict, Certificates(at).server, "digits.shop.svc.cluster.local")


def test_the_name_of_another_namespace_is_refused(tmp_path: Path) -> None:
    authority = new_authority(NOW)
    runtime = Certificates(folder(tmp_path / "tls", authority, authority))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(runtime.client, runtime.server, "digits.other.svc.cluster.local")


def test_during_a_rotation_both_sides_accept_either_signer(tmp_path: Path) -> None:
    former, successor = new_authority(NOW), new_authority(NOW)
    before = Certificates(folder(tmp_path / "before", former, former, successor))
    after = Certificates(folder(tmp_path / "after", successor, former, successor))
    for client, server in ((before, after), (after, before)):
        shake_hands(client.client, server.server, "digits.shop.svc.cluster.local")


def test_another_installations_authority_is_refused(tmp_path: Path) -> None:
    ours, theirs = new_authority(NOW), new_authority(NOW)
    runtime = Certificates(folder(tmp_path / "ours", ours, ours))
    stranger = Certificates(folder(tmp_path / "theirs", theirs, theirs))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(stranger.client, runtime.server, "digits.shop.svc.cluster.local")
