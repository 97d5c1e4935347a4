"""Compressed requests and responses."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import BadRequest, TooLarge, UnsupportedEncoding
from edge_runtime.protocol.compression import deflate, inflate
from messages import mentions

BODY = b"an activation " * 500
RAW = zlib.compressobj(wbits=-15)
RAW_BODY = RAW.compress(BODY) + RAW.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("GZip", gzip.compress(BODY, mtime=0)),
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
    with pytest.raises(TooLarge, match="1048576 bytes after decompression"):
        inflate(bomb, "gzip", 1 << 20)


@pytest.mark.parametrize(
    "packed",
    [b"", b"no gzip", gzip.compress(BODY, mtime=0)[:-4], gzip.compress(BODY, mtime=0) + b"more"],
    ids=repr,
)
def test_what_is_not_one_whole_stream_is_refused(packed: bytes) -> None:
    with pytest.raises(BadRequest, match="correct content-encoding"):
        inflate(packed, "gzip", 1 << 20)


def test_an_encoding_that_is_not_read_is_named() -> None:
    with pytest.raises(UnsupportedEncoding, match=mentions('content-encoding: "br"')):
        inflate(BODY, "br", 1 << 20)


def test_answers_are_compressed_as_the_client_likes_best() -> None:
    assert gzip.decompress(deflate(BODY, "gzip, deflate")[0]) == BODY
    assert zlib.decompress(deflate(BODY, "br, deflate;q=0.5")[0]) == BODY
    for accepted in ("br", "", "gzip;q=0", "gzip; q=0.000", "*"):
        assert deflate(BODY, accepted) == (BODY, None)


def test_short_answers_go_as_they_are() -> None:
    assert deflate(b"short", "gzip") == (b"short", None)


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=6), st.integers(0, 9))
def test_members_of_gzip_are_one_body(pieces: list[bytes], level: int) -> None:
    packed = b"".join(gzip.compress(piece, level, mtime=0) for piece in pieces)
    whole = b"".join(pieces)
    assert inflate(packed, "gzip", len(whole)) == whole
    if whole:
        with pytest.raises(TooLarge):
            inflate(packed, "gzip", len(whole) - 1)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=3), st.binary(min_size=1, max_size=20))
def test_what_lies_behind_the_members_is_refused(pieces: list[bytes], behind: bytes) -> None:
    packed = b"".join(map(gzip.compress, pieces))
    with pytest.raises(BadRequest):
        inflate(packed + behind, "gzip", 1 << 20)
    with pytest.raises(BadRequest):
        inflate(packed[: -1 - len(behind) % 17], "gzip", 1 << 20)
    with pytest.raises(BadRequest, match=mentions("bytes after", "deflate")):
        inflate(zlib.compress(pieces[0]) * 2, "deflate", 1 << 20)


def test_zeros_behind_gzip_are_named() -> None:
    with pytest.raises(BadRequest, match=mentions("8 bytes after", "gzip")):
        inflate(gzip.compress(b"1", mtime=0) + bytes(8), "gzip", 100)


def test_members_without_limit_are_refused_and_cost_no_more_than_they_hold() -> None:
    assert inflate(gzip.compress(b"1", mtime=0) * 65_536, "gzip", 1 << 20) == b"1" * 65_536
    with pytest.raises(BadRequest, match="more than 65536 members"):
        inflate(gzip.compress(b"", mtime=0) * 65_537 + b"?", "gzip", 1 << 20)


@given(st.integers(-1, 1), st.integers(0, 3))
def test_a_body_as_long_as_what_is_taken_at_once_is_whole(more: int, times: int) -> None:
    whole = bytes(max(0, (times << 20) + more))
    assert inflate(gzip.compress(whole, mtime=0), "gzip", len(whole)) == whole
