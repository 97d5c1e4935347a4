"""Bodies that come or go compressed: gzip, and deflate in both of the forms that are called so."""

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
_NONE: Final = re.compile(r"q=0(\.0*)?")


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before it was compressed.

    Raises UnsupportedEncoding, TooLarge as soon as more than `limit` bytes come out, and BadRequest when the
    body is not of that encoding.
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
            f'content-encoding: "{encoding[:40]}" is not read here; send gzip, deflate or the body as it is'
        )
    inflater = zlib.decompressobj(window)
    parts, size, rest = [], 0, body
    try:
        while rest and not inflater.eof:
            part = inflater.decompress(rest, _CHUNK)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise TooLarge(f"body: more than {limit} bytes once decompressed; send a smaller request")
            rest = inflater.unconsumed_tail
    except zlib.error as error:
        raise BadRequest(f"body: not {encoding} ({error}); correct content-encoding") from error
    if not inflater.eof or inflater.unused_data:
        raise BadRequest(f"body: not one complete {encoding} stream; correct content-encoding")
    return b"".join(parts)


def deflate(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The body in the first encoding of `accepted` that is known here, and its name; as it is when it is
    small or does not shrink.
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
