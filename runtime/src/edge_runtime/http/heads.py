"""Validates the head of a request: its body framing and its target. Pure.

If a sender and a receiver disagree about the length of a body, one reads a request where the other reads a
body (RFC 9112, 11.2). Requests with ambiguous framing are therefore refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import httptools

from edge_runtime.errors import BadRequest, EdgeError, HeadersTooLarge, NotOffered, UnknownVersion

# HTTP statuses of errors in HTTP itself; each application maps its own errors.
STATUS: Final[dict[type[EdgeError], int]] = {HeadersTooLarge: 431, NotOffered: 501, UnknownVersion: 505}

FRAMING: Final = frozenset((b"host", b"content-length", b"transfer-encoding"))
_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_LENGTH: Final = re.compile(rb"[0-9]{1,19}")
_TOKEN: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SHOWN: Final = 80
_LONGEST_TARGET: Final = (64 << 10) - 1  # limit of the parser of targets


class Head:
    """The header fields that decide the target and the framing of a request."""

    __slots__ = ("codings", "hosts", "lengths")

    def __init__(self) -> None:
        self.hosts: list[bytes] = []
        self.lengths: list[bytes] = []
        self.codings: list[bytes] = []

    def note(self, name: bytes, value: bytes) -> None:
        """Stores a field of FRAMING."""
        if name == b"host":
            self.hosts.append(value)
        elif name == b"content-length":
            self.lengths.append(value)
        else:
            self.codings.append(value)

    def check(self, method: str, version: str) -> None:
        """Raises BadRequest, NotOffered or UnknownVersion for an ambiguous or unsupported request."""
        if version == "1.1":
            if len(self.hosts) != 1:
                raise BadRequest(
                    f"host: HTTP/1.1 requires exactly one such header, not {len(self.hosts)}: send one"
                )
        elif version != "1.0":
            raise UnknownVersion(f"request: HTTP/{version} is not supported: send HTTP/1.1")
        elif self.codings:
            raise BadRequest(
                f"transfer-encoding: {_shown(self.codings)} is not part of HTTP/1.0: "
                "send content-length or HTTP/1.1"
            )
        for host in self.hosts:
            if not _HOST.fullmatch(host):
                raise BadRequest(f"host: {_shown([host])} is not a host: write host:port")
        if method == "CONNECT":
            raise NotOffered("CONNECT: tunnels are not supported: connect to the host directly")
        if self.codings:
            self._check_codings()
        elif self.lengths and (len(self.lengths) > 1 or not _LENGTH.fullmatch(self.lengths[0])):
            raise BadRequest(f"content-length: {_shown(self.lengths)} is not one number of bytes: send one")

    def _check_codings(self) -> None:
        if self.lengths:
            raise BadRequest(
                f"content-length: {_shown(self.lengths)} is given with transfer-encoding: send one of them"
            )
        codings = [coding.strip(b" \t").lower() for value in self.codings for coding in value.split(b",")]
        if codings == [b"chunked"]:
            return
        shown = _shown(self.codings)
        *inner, last = codings
        if last == b"chunked" and all(_TOKEN.fullmatch(c) and c != b"chunked" for c in inner):
            raise NotOffered(f"transfer-encoding: {shown} is not supported: send chunked only")
        raise BadRequest(f"transfer-encoding: {shown} is not valid: send chunked only")

    def framing(self, *, keep_alive: bool) -> bytes:
        """The smallest head with the same body framing."""
        lines = [b"POST / HTTP/1.1"]
        lines += [b"content-length: " + length for length in self.lengths]
        lines += [b"transfer-encoding: " + coding for coding in self.codings]
        if not keep_alive:
            lines.append(b"connection: close")
        return b"\r\n".join([*lines, b"", b""])


def split_target(method: str, target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target; the path is `*` for the target `*`."""
    if target == b"*" and method == "OPTIONS":
        return target, b""
    if len(target) > _LONGEST_TARGET:
        raise HeadersTooLarge(f"request: the target has {len(target)} bytes: send at most {_LONGEST_TARGET}")
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        url = None
    # A target that is not a path is an absolute URL, whose host applies (RFC 9112, 3.2.2).
    if url is None or not (target.startswith(b"/") or (url.schema and url.host)):
        raise BadRequest(
            f"request: {_shown([target])} is not a target: write a path such as /v2/health/ready"
        )
    return url.path or b"/", url.query or b""


def unreadable(target: bytes, why: str) -> BadRequest:
    """The error for bytes that the parser cannot read as a request."""
    if target == b"*":  # the HTTP/2 preface of a client with prior knowledge
        return UnknownVersion("request: HTTP/2 is not supported: send HTTP/1.1")
    return BadRequest(f"request: cannot be parsed ({why or 'malformed'}): send it as RFC 9112 specifies")


def _shown(values: Sequence[bytes]) -> str:
    text = ", ".join(value.decode("latin-1") for value in values)
    return f'"{text[:_SHOWN]}"' if text.isprintable() else repr(text[:_SHOWN])
