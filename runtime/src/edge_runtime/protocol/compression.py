"""Compressed bodies: gzip, and deflate in both of the forms with that name."""

from __future__ import annotations

import re
import zlib
from typing import Final

from edge_runtime.errors import BadRequest, TooLarge, UnsupportedEncoding

_GZIP: Final = 31
_ZLIB: Final = 15
_RAW: Final = -15
_LEVEL: Final = 1
_WORTH: Final = 1024
_CHUNK: Final = 1 << 20
_FIRST: Final = 1 << 9
_MAGIC: Final = b"\x1f\x8b"
_MEMBERS: Final = 1 << 16  # each costs time, even an empty one
_NONE: Final = re.compile(r"q=0(\.0*)?")


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """Decompresses a body; gzip can have several members (RFC 1952, 2.2).

    Raises UnsupportedEncoding, TooLarge as soon as the output exceeds `limit` bytes, and BadRequest if the
    body does not have that encoding.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        window = _GZIP
    elif encoding == "deflate":
        window = _ZLIB if _is_zlib(body) else _RAW
    else:
        raise UnsupportedEncoding(
            f'content-encoding: "{encoding[:40]}" is not supported: send gzip, deflate or no encoding'
        )
    parts: list[bytes] = []
    try:
        at, members, left = 0, 0, limit
        while not members or (window == _GZIP and body.startswith(_MAGIC, at)):
            members += 1
            if members > _MEMBERS:
                raise BadRequest(f"body: more than {_MEMBERS} members of {encoding}: compress it as one")
            at, left = _member(body, at, window, left, parts)
            if at < 0:
                raise BadRequest(f"body: not one complete {encoding} stream: correct content-encoding")
            if left < 0:
                raise TooLarge(f"body: larger than {limit} bytes after decompression: send a smaller request")
    except zlib.error as error:
        raise BadRequest(f"body: not {encoding} ({error}): correct content-encoding") from error
    if at < len(body):
        behind = len(body) - at
        raise BadRequest(
            f"body: {behind} bytes after the end of the {encoding} stream: correct content-encoding"
        )
    return b"".join(parts)


def _member(body: bytes, at: int, window: int, left: int, parts: list[bytes]) -> tuple[int, int]:
    """Decompresses the member that starts at `at`. Returns its end (-1 if it is incomplete), and what remains
    of `left` bytes (negative if the limit was exceeded and decompression stopped).

    The input is passed in growing chunks: data after a member is copied, so with many short members each
    would copy the rest of the body.
    """
    inflater, view, size = zlib.decompressobj(window), memoryview(body), _FIRST
    while at < len(body):
        fed = view[at : at + size]
        rest: bytes | memoryview = fed
        while True:
            part = inflater.decompress(rest, _CHUNK)
            parts.append(part)
            left -= len(part)
            if left < 0:
                return at, left
            rest = inflater.unconsumed_tail
            if inflater.eof:
                return at + len(fed) - len(inflater.unused_data), left
            if not rest and len(part) < _CHUNK:
                break
        at, size = at + len(fed), min(2 * size, _CHUNK)
    return -1, left


def deflate(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """Compresses the body in the first supported encoding of `accepted`; returns the body and the encoding.

    Returns it unchanged if it is small or does not shrink.
    """
    encoding = _chosen(accepted)
    if encoding is None or len(body) < _WORTH:
        return body, None
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP if encoding == "gzip" else _ZLIB)
    packed = packer.compress(body) + packer.flush()
    return (packed, encoding) if len(packed) < len(body) else (body, None)


def _chosen(accepted: str) -> str | None:
    for entry in accepted.lower().split(","):
        name, _, weight = entry.partition(";")
        if name.strip() in ("gzip", "deflate") and not _NONE.fullmatch(weight.replace(" ", "")):
            return name.strip()
    return None


def _is_zlib(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
