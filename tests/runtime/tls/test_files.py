"""Certificates in a folder: the last valid ones stay in use, whatever replaces them."""

from __future__ import annotations

import datetime
import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge_runtime.errors import BadCertificates
from edge_runtime.tls.certificates import Certificates
from edge_runtime.tls.expiries import not_after
from messages import mentions
from mounts import Mount, Signer

Files = dict[str, bytes]
WORD = "CERTIFICATE"


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "authority")


@pytest.fixture
def mount(tmp_path: Path, signer: Signer) -> Mount:
    return Mount(tmp_path / "tls", signer.pair())


def _ends(pem: bytes) -> float:
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def test_the_end_of_a_certificate_is_read_as_it_stands_there(signer: Signer) -> None:
    pem = signer.pair(days=30)["tls.crt"]
    assert not_after(pem.decode()) == _ends(pem)
    assert not_after(f"issued by us\n{pem.decode()}{signer.pair()['ca.crt'].decode()}") == _ends(pem)


@pytest.mark.parametrize("year", [2049, 2050, 2999])
def test_both_ways_of_writing_a_time_are_read(year: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "far away" * 6)])
    end = datetime.datetime(year, 12, 31, 23, 59, 58, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    assert not_after(made.public_bytes(serialization.Encoding.PEM).decode()) == end.timestamp()


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "x" * 99]
)
def test_what_is_not_a_certificate_has_no_end(text: str) -> None:
    with pytest.raises(ValueError, match=r"no certificate|damaged"):
        not_after(text)


def test_a_swapped_mount_is_taken_over(mount: Mount, signer: Signer) -> None:
    certificates = Certificates(mount.path)
    before = certificates.current
    assert certificates.look() is False
    renewed = signer.pair(days=100)
    mount.swap(renewed)
    assert certificates.look() is True
    assert certificates.current.chain == renewed["tls.crt"] != before.chain
    assert certificates.current.expires == _ends(renewed["tls.crt"]) > before.expires + 99 * 86400
    assert certificates.look() is False


def test_files_that_are_written_in_place_are_taken_over(tmp_path: Path, signer: Signer) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for files in (signer.pair(), signer.pair(days=9)):
        for name, data in files.items():
            (folder / name).write_bytes(data)
        if files["tls.crt"] != b"":
            certificates = Certificates(folder)
    renewed = signer.pair(days=20)
    (folder / "tls.crt").write_bytes(renewed["tls.crt"])
    assert certificates.look() is False  # the new certificate with the old key: half of a change
    (folder / "tls.key").write_bytes(renewed["tls.key"])
    assert certificates.look() is True
    assert certificates.current.key == renewed["tls.key"]


BROKEN: dict[str, tuple[Callable[[Signer, Path], Files], tuple[str, ...]]] = {
    "half a certificate": (
        lambda s, _: (p := s.pair()) | {"tls.crt": p["tls.crt"][:200]},
        ("tls.crt:", "PEM"),
    ),
    "a damaged certificate": (
        lambda s, _: (p := s.pair()) | {"tls.crt": p["tls.crt"].replace(b"\nMII", b"\nMAA", 1)},
        ("tls.crt:", "damaged"),
    ),
    "another's key": (
        lambda s, _: s.pair() | {"tls.key": s.pair()["tls.key"]},
        ("tls.key:", "match"),
    ),
    "an empty key": (lambda s, _: s.pair() | {"tls.key": b""}, ("tls.key:", "tls.crt")),
    "an empty authority": (
        lambda s, _: s.pair() | {"ca.crt": b""},
        ("ca.crt:", "authority"),
    ),
    "no authority": (
        lambda s, _: {k: v for k, v in s.pair().items() if k != "ca.crt"},
        ("ca.crt:", os.strerror(errno.ENOENT)),
    ),
    "an end in the past": (lambda s, _: s.pair(days=-100), ("tls.crt:", "expired")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_changes_nothing_but_the_log(
    case: str, mount: Mount, signer: Signer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(mount.path)
    before = certificates.current
    make, parts = BROKEN[case]
    mount.swap(make(signer, tmp_path))
    with caplog.at_level(logging.ERROR):
        assert certificates.look() is False
        assert certificates.look() is False
    assert certificates.current is before
    (record,) = caplog.records  # once for each state of the folder
    assert mentions(*parts).search(record.getMessage())
    assert "still using the certificate" in record.getMessage()
    mended = signer.pair()
    mount.swap(mended)
    assert certificates.look() is True
    assert certificates.current.chain == mended["tls.crt"]


@pytest.mark.parametrize("case", [case for case in BROKEN if "past" not in case])
def test_there_is_no_start_without_certificates_and_the_sentence_says_what_to_do(
    case: str, signer: Signer, tmp_path: Path
) -> None:
    make, parts = BROKEN[case]
    with pytest.raises(BadCertificates, match=mentions(*parts)) as raised:
        Certificates(Mount(tmp_path / "tls", make(signer, tmp_path)).path)
    assert any(word in str(raised.value) for word in ("mount", "write", "put"))


def test_a_node_whose_clock_is_wrong_starts_and_warns(mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    Certificates(mount.path, clock=lambda: time.time() + 400 * 86400)
    assert "set this machine's clock" in caplog.text
