"""Bodies that come or go compressed."""

from __future__ import annotations

import gzip
import zlib

import pytest

from edge_runtime.errors import BadRequest, TooLarge, UnsupportedEncoding
from edge_runtime.protocol.compression import deflate, inflate

BODY = b"an activation " * 500
RAW = zlib.compressobj(wbits=-15)
RAW_BODY = RAW.compress(BODY) + RAW.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("GZip", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", RAW_BODY),
        ("identity", BODY),
    ],
)
def test_what_was_compressed_is_read(encoding: str, packed: bytes) -> None:
    assert inflate(packed, encoding, len(BODY)) == BODY


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    bomb = gzip.compress(bytes(1 << 26))
    assert len(bomb) < 1 << 17
    with pytest.raises(TooLarge, match="more than 1048576 bytes once decompressed"):
        inflate(bomb, "gzip", 1 << 20)


@pytest.mark.parametrize(
    "packed", [b"", b"no gzip", gzip.compress(BODY)[:-4], gzip.compress(BODY) + b"more"], ids=repr
)
def test_what_is_not_one_whole_stream_is_refused(packed: bytes) -> None:
    with pytest.raises(BadRequest, match="correct content-encoding"):
        inflate(packed, "gzip", 1 << 20)


def test_an_encoding_that_is_not_read_is_named() -> None:
    with pytest.raises(UnsupportedEncoding, match='"br" is not read here'):
        inflate(BODY, "br", 1 << 20)


def test_answers_are_compressed_as_the_caller_likes_best() -> None:
    assert gzip.decompress(deflate(BODY, "gzip, deflate")[0]) == BODY
    assert zlib.decompress(deflate(BODY, "br, deflate;q=0.5")[0]) == BODY
    for accepted in ("br", "", "gzip;q=0", "gzip; q=0.000", "*"):
        assert deflate(BODY, accepted) == (BODY, None)


def test_short_answers_go_as_they_are() -> None:
    assert deflate(b"short", "gzip") == (b"short", None)
