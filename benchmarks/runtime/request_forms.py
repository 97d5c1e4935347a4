"""One request in many valid and invalid forms by RFC 9112, and the required responses.

A valid form gets one response and leaves the connection open. An invalid one is rejected once and closes the
connection, since client and server may disagree about where it ends.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Build = Callable[[bytes], bytes]

TOKENS: Final = (b"h2c", b"H2C", b"websocket", b"TLS/1.0", b"h2c, websocket", b"foo/2")
_SETTINGS: Final = b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"


@dataclass(frozen=True, slots=True)
class Form:
    """build: returns the bytes after the first line, from the body.

    status: of the rejection; 0 for a valid request, whose body is then the given one.
    start: the first line, where {line} is method and target, {address} method and the target's whole address.
    """

    build: Build
    status: int = 0
    start: bytes = b"{line} HTTP/1.1\r\n"

    def request(self, method: str, target: str, body: bytes) -> bytes:
        """The request's bytes."""
        start = self.start.replace(b"{line}", f"{method} {target}".encode())
        return start.replace(b"{address}", f"{method} http://h{target}".encode()) + self.build(body)


def _sized(lines: bytes = b"", length: bytes = b"{}", host: bytes = b"Host: a\r\n") -> Build:
    def build(body: bytes) -> bytes:
        said = length.replace(b"{}", b"%d" % len(body))
        return host + lines + b"Content-Length: " + said + b"\r\n\r\n" + body

    return build


def _chunked(
    lines: bytes = b"",
    coding: bytes = b"Transfer-Encoding: chunked\r\n",
    size: bytes = b"{}",
    behind: bytes = b"\r\n",
    trailers: bytes = b"",
) -> Build:
    def build(body: bytes) -> bytes:
        half = len(body) // 2
        found = b"Host: a\r\n" + lines + coding + b"\r\n"
        for part in (body[:half], body[half:]):
            found += size.replace(b"{}", b"%x" % len(part)) + b"\r\n" + part + behind
        return found + b"0\r\n" + trailers + b"\r\n"

    return build


def _bare(lines: bytes = b"") -> Build:
    return lambda _: b"Host: a\r\n" + lines + b"\r\n"


def _offer(token: bytes) -> bytes:
    return b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + token + b"\r\n" + _SETTINGS


_OFFERS: Final[Mapping[str, bytes]] = {
    **{f"an offer of {token.decode()}": _offer(token) for token in TOKENS},
    "an offer in capitals": b"CONNECTION: UPGRADE\r\nUPGRADE: H2C\r\n",
    "an offer given twice": b"Connection: Upgrade\r\nUpgrade: h2c\r\n" * 2,
    "an offer that no connection header names": b"Upgrade: h2c\r\n",
    "an offer and a wish to close it later": b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n",
}

RIGHT: Final[Mapping[str, Form]] = {
    "a content-length": Form(_sized()),
    "a content-length with spaces around it": Form(_sized(length=b" \t{} \t")),
    "a content-length with zeros before it": Form(_sized(length=b"000{}")),
    "chunks": Form(_chunked()),
    "chunks in capitals": Form(_chunked(coding=b"TRANSFER-ENCODING: Chunked\r\n")),
    "chunks with extensions": Form(_chunked(size=b'{};a=b;c="d"')),
    "chunks with zeros before their sizes": Form(_chunked(size=b"0000{}")),
    "chunks with trailers": Form(_chunked(trailers=b"X-Sum: 1\r\nHost: b\r\nUpgrade: h2c\r\n")),
    "an absolute target": Form(_sized(), start=b"{address} HTTP/1.1\r\n"),
    "an empty line before it": Form(_sized(), start=b"\r\n{line} HTTP/1.1\r\n"),
    "a header that only looks like one": Form(
        _sized(b"Content_Length: 1\r\nX-Transfer-Encoding: chunked\r\n")
    ),
    **{f"{name}, content-length": Form(_sized(lines)) for name, lines in _OFFERS.items()},
    **{f"{name}, chunks": Form(_chunked(lines)) for name, lines in _OFFERS.items()},
}

WRONG: Final[Mapping[str, Form]] = {
    "content-length and chunks": Form(_chunked(b"Content-Length: 4\r\n"), 400),
    "chunks and content-length": Form(
        _chunked(coding=b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), 400
    ),
    "chunks and content-length behind an offer": Form(
        _chunked(_offer(b"h2c") + b"Content-Length: 4\r\n"), 400
    ),
    "two different lengths": Form(_sized(b"Content-Length: 1\r\n"), 400),
    "two equal lengths": Form(_sized(length=b"{}\r\nContent-Length: {}"), 400),
    "a list of lengths": Form(_sized(length=b"{}, {}"), 400),
    "a negative length": Form(_sized(length=b"-{}"), 400),
    "a length with a plus": Form(_sized(length=b"+{}"), 400),
    "a hexadecimal length": Form(_sized(length=b"0x{}"), 400),
    "a length with a point": Form(_sized(length=b"{}.0"), 400),
    "a length with digits apart": Form(_sized(length=b"1 {}"), 400),
    "a length with an underscore": Form(_sized(length=b"1_{}"), 400),
    "a length of other digits": Form(_sized(length="٣".encode()), 400),
    "an empty length": Form(_sized(length=b""), 400),
    "a length beyond 64 bits": Form(_sized(length=b"18446744073709551616"), 400),
    "a length beyond 63 bits": Form(_sized(length=b"18446744073709551615"), 400),
    "a length beyond all bits": Form(_sized(length=b"9" * 400), 400),
    "an unknown coding": Form(_chunked(coding=b"Transfer-Encoding: xchunked\r\n"), 400),
    "a coding with a vertical tab": Form(_chunked(coding=b"Transfer-Encoding: \x0bchunked\r\n"), 400),
    "a coding in quotes": Form(_chunked(coding=b'Transfer-Encoding: "chunked"\r\n'), 400),
    "a coding with a parameter": Form(_chunked(coding=b"Transfer-Encoding: chunked;q=1\r\n"), 400),
    "an empty coding": Form(_chunked(coding=b"Transfer-Encoding: \r\n"), 400),
    "an empty coding before chunks": Form(_chunked(coding=b"Transfer-Encoding: ,chunked\r\n"), 400),
    "identity": Form(_chunked(coding=b"Transfer-Encoding: identity\r\n"), 400),
    "chunks, then identity": Form(_chunked(coding=b"Transfer-Encoding: chunked, identity\r\n"), 400),
    "chunks of chunks": Form(_chunked(coding=b"Transfer-Encoding: chunked, chunked\r\n"), 400),
    "chunks given twice": Form(_chunked(coding=b"Transfer-Encoding: chunked\r\n" * 2), 400),
    "chunks, then another coding": Form(
        _chunked(coding=b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"), 400
    ),
    "chunks of gzip": Form(_chunked(coding=b"Transfer-Encoding: gzip, chunked\r\n"), 501),
    "chunks of gzip in two headers": Form(
        _chunked(coding=b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), 501
    ),
    "a space before the colon": Form(_chunked(coding=b"Transfer-Encoding : chunked\r\n"), 400),
    "a folded coding": Form(_chunked(coding=b"Transfer-Encoding:\r\n chunked\r\n"), 400),
    "a folded header": Form(_sized(b"X-A: b\r\n c\r\n"), 400),
    "a folded length": Form(_sized(length=b"1\r\n {}"), 400),
    "a space before the first header": Form(_sized(host=b" Host: a\r\n"), 400),
    "no colon": Form(_sized(b"X-A\r\n"), 400),
    "no name": Form(_sized(b": a\r\n"), 400),
    "a zero byte in a value": Form(_sized(b"X-A: b\0c\r\n"), 400),
    "a zero byte in a name": Form(_sized(b"X\0A: b\r\n"), 400),
    "a control character in a value": Form(_sized(b"X-A: b\x01c\r\n"), 400),
    "a line feed alone": Form(_sized(b"X-A: b\n"), 400),
    "a line feed alone before a length": Form(_sized(b"X-A: b\nContent-Length: 1\r\n"), 400),
    "a carriage return alone": Form(_sized(b"X-A: b\rContent-Length: 1\r\n"), 400),
    "line feeds alone behind the first line": Form(_sized(), 400, b"{line} HTTP/1.1\n"),
    "no host": Form(_sized(host=b""), 400),
    "two hosts": Form(_sized(host=b"Host: a\r\nHost: b\r\n"), 400),
    "a host with a space": Form(_sized(host=b"Host: a b\r\n"), 400),
    "a host with a path": Form(_sized(host=b"Host: a/b\r\n"), 400),
    "a chunk without its end": Form(_chunked(behind=b""), 400),
    "a chunk longer than said": Form(_chunked(behind=b"x\r\n"), 400),
    "a chunk that ends in a line feed": Form(_chunked(behind=b"\n"), 400),
    "a size with 0x": Form(_chunked(size=b"0x{}"), 400),
    "a size with a space before it": Form(_chunked(size=b" {}"), 400),
    "a size with a space behind it": Form(_chunked(size=b"{} "), 400),
    "a negative size": Form(_chunked(size=b"-{}"), 400),
    "a size with an underscore": Form(_chunked(size=b"0_{}"), 400),
    "no size": Form(_chunked(size=b""), 400),
    "a size beyond 64 bits": Form(_chunked(size=b"10000000000000000{}"), 400),
    "a size that ends in a line feed": Form(_chunked(size=b"{}\n"), 400),
    "an extension with a line feed": Form(_chunked(size=b"{};a\nb"), 400),
    "an extension with a line feed in quotes": Form(_chunked(size=b'{};a="\n"'), 400),
    "a trailer without a colon": Form(_chunked(trailers=b"X-Sum\r\n"), 400),
    "a trailer with a length": Form(_chunked(trailers=b"Content-Length: 3\r\n"), 400),
    "chunks of HTTP/1.0": Form(_chunked(), 400, b"{line} HTTP/1.0\r\n"),
    "an offer and chunks of HTTP/1.0": Form(_chunked(_offer(b"h2c")), 400, b"{line} HTTP/1.0\r\n"),
    "HTTP/0.9": Form(lambda _: b"\r\n", 505, b"{line}\r\n"),
    "HTTP/0.9 by its name": Form(_sized(), 505, b"{line} HTTP/0.9\r\n"),
    "HTTP/2.0 without its preface": Form(_sized(), 505, b"{line} HTTP/2.0\r\n"),
    "the preface of HTTP/2": Form(
        lambda _: b"\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", 505, b"PRI * HTTP/2.0\r\n"
    ),
    "another protocol": Form(_sized(), 400, b"{line} HTCPCP/1.0\r\n"),
    "no protocol": Form(_sized(), 400, b"{line} 1.1\r\n"),
    "a space in the target": Form(_sized(), 400, b"{line} x HTTP/1.1\r\n"),
    "an invalid target": Form(_sized(), 400, b"POST v2 HTTP/1.1\r\n"),
    "a target of another protocol": Form(_sized(), 400, b"POST http: HTTP/1.1\r\n"),
    "a star as the target": Form(_sized(), 400, b"POST * HTTP/1.1\r\n"),
    "a method in small letters": Form(_sized(), 400, b"post / HTTP/1.1\r\n"),
    "a tunnel": Form(_sized(), 501, b"CONNECT a:80 HTTP/1.1\r\n"),
    "the start of TLS": Form(lambda _: b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", 400, b""),
}

# Without a body; methods that need none follow the same rules.
BODILESS: Final[Mapping[str, Form]] = {
    "nothing": Form(_bare()),
    **{name: Form(_bare(lines)) for name, lines in _OFFERS.items()},
}
