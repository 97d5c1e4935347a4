"""Expiry of a certificate, which the standard library does not expose for one's own certificate."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Final

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def not_after(pem: str) -> float:
    """Unix time at which the first certificate in `pem` expires. Raises ValueError (RFC 5280, 4.1)."""
    begin, end = pem.find(_BEGIN), pem.find(_END)
    if begin < 0 or end < begin:
        raise ValueError("no certificate in PEM")
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_END)]))
    except (IndexError, ValueError) as error:
        raise ValueError("the first certificate is damaged") from error


def _not_after(der: bytes) -> float:
    _, body, _ = _element(der, 0)
    _, fields, _ = _element(body, 0)
    tag, _, at = _element(fields, 0)
    # version (optional), serial number, signature, issuer, then the validity
    for _ in range(3 if tag == _VERSION else 2):
        _, _, at = _element(fields, at)
    tag, validity, _ = _element(fields, at)
    if tag != _SEQUENCE:
        raise ValueError(f"expected a validity, found tag {tag:#x}")
    _, _, at = _element(validity, 0)
    tag, text, _ = _element(validity, at)
    digits = text.decode("ascii")
    year = int(digits[:2]) + (1900 if digits[:2] >= "50" else 2000) if tag == _UTC_TIME else int(digits[:4])
    rest = digits[2 if tag == _UTC_TIME else 4 :]
    month, day, hour, minute, second = (int(rest[i : i + 2]) for i in range(0, 10, 2))
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag and contents of the DER element at `at`, and the position of the next."""
    tag, length, at = data[at], data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[at : at + count], "big")
        at += count
    if at + length > len(data):
        raise ValueError("truncated")
    return tag, data[at : at + length], at + length
