"""Parses and validates a storageUri before any request is made. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, unquote, urlsplit

from edge_api.words import shown
from edge_runtime.errors import BadRequest, UnsupportedScheme

SCHEMES: Final = ("store", "https", "http", "file")
_LONGEST: Final = 2048
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FILE: Final = "write file:///<path on the model store's disk>, with %25 for %"
_HOST: Final = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?\.?")
# Sent unchanged; other characters (spaces, non-ASCII) cannot be in a request line.
_SENT: Final = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class Address:
    """target: the name of a file of the store, a path on its disk, or the exact URL to request."""

    uri: str
    scheme: Literal["store", "https", "http", "file"]
    target: str

    def beside(self, location: str) -> Address:
        """The file at a location in the same folder, requested with the same query."""
        if self.scheme in ("store", "file"):
            uri, target = (f"{''.join(t.rpartition('/')[:2])}{location}" for t in (self.uri, self.target))
            return Address(uri, self.scheme, target)
        path, mark, query = self.target.partition("?")
        url = f"{path.rsplit('/', 1)[0]}/{quote(location)}{mark}{query}"
        return Address(url, self.scheme, url)


def address_of(uri: str, field: str) -> Address:
    """The address of a storageUri. Raises BadRequest or UnsupportedScheme with `field`, value and fix."""
    said = f"{field}: {shown(uri)}"
    if len(uri) > _LONGEST:
        raise BadRequest(f"{said} has {len(uri)} characters: write at most {_LONGEST}")
    if _CONTROL.search(uri):
        raise BadRequest(f"{said} contains a control character: remove it, or write it as %xx")
    scheme, mark, rest = uri.partition(":")
    if not mark or scheme.lower() not in SCHEMES:
        known = ", ".join(f"{s}://" for s in SCHEMES)
        raise UnsupportedScheme(f'{said} has scheme "{scheme if mark else ""}": use one of {known}')
    match scheme.lower():
        case "store":
            return Address(uri, "store", _stored(rest, said))
        case "file":
            return Address(uri, "file", _on_disk(rest, said))
        case "http":
            return Address(uri, "http", _url(uri, said))
        case _:
            return Address(uri, "https", _url(uri, said))


def _stored(rest: str, said: str) -> str:
    if not rest.startswith("//") or rest == "//":
        raise BadRequest(f"{said} has no file name: write store://<path>")
    return rest[2:]


def _on_disk(rest: str, said: str) -> str:
    host, mark, path = rest[2:].partition("/") if rest.startswith("//") else ("", rest[:1], rest[1:])
    if host.lower() not in ("", "localhost"):
        raise BadRequest(f'{said} has the host "{host}": {_FILE}')
    found = unquote(path, errors="strict") if _decodes(path) else ""
    if mark != "/" or not found or _CONTROL.search(found):
        raise BadRequest(f"{said} has no file name: {_FILE}")
    return f"/{found}"


def _decodes(path: str) -> bool:
    try:
        return bool(unquote(path, errors="strict"))
    except UnicodeDecodeError:
        return False


def _url(uri: str, said: str) -> str:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadRequest(f"{said} is not a URL ({error}): write http://<host>:<port>/<path>") from error
    if uri[len(parts.scheme) : len(parts.scheme) + 3] != "://" or not host:
        raise BadRequest(f"{said} has no host: write {parts.scheme}://<host>/<path>")
    if port == 0:
        raise BadRequest(f"{said} has port 0: write one from 1 to 65535, or none")
    if "[" in parts.netloc.rpartition("@")[2]:
        _check_literal(host, said)
    elif not _HOST.fullmatch(host):
        raise BadRequest(
            f"{said} has a host with invalid characters: use letters, digits, - and .{_ascii(host)}"
        )
    return quote(uri.partition("#")[0], safe=_SENT)


def _check_literal(host: str, said: str) -> None:
    if "%" in host:
        raise BadRequest(
            f"{said} has an address with an interface, which is only valid on one machine: write an "
            f"address without %"
        )
    try:
        ipaddress.IPv6Address(host)
    except ValueError as error:
        raise BadRequest(f"{said} has an invalid IPv6 address: write e.g. [fd00::1]") from error


def _ascii(host: str) -> str:
    try:
        return f", as in {host.encode('idna').decode()}"
    except UnicodeError:
        return ""
