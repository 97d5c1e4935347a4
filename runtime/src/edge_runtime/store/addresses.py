"""Checks of a storageUri before anything is read. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from edge_runtime.errors import BadRequest

_LONGEST: Final = 2048
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FILE: Final = "write file:///<path on the model store's disk>, with %25 for %"
_HOST: Final = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?\.?")
_OBJECT: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_HOLDERS: Final = {"s3": "bucket", "gs": "bucket", "hf": "owner>/<model"}
# Sent unchanged; other characters (spaces, non-ASCII) cannot be in a request line.
_SENT: Final = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class Address:
    """target: what the source of the scheme reads, e.g. the name of a stored file, a path or a URL."""

    uri: str
    scheme: str
    target: str


def check_length(uri: str, said: str) -> None:
    """Raises BadRequest, beginning with `said`, for an address that is too long or has control characters."""
    if len(uri) > _LONGEST:
        raise BadRequest(f"{said} has {len(uri)} characters: write at most {_LONGEST}")
    if _CONTROL.search(uri):
        raise BadRequest(f"{said} holds a control character: remove it, or write it as %xx")


def in_folder(address: Address, location: str) -> Address:
    """Returns the file at a location in the same folder."""
    uri, target = (f"{''.join(t.rpartition('/')[:2])}{location}" for t in (address.uri, address.target))
    return Address(uri, address.scheme, target)


def under_url(address: Address, location: str) -> Address:
    """Returns the file at a location in the same folder, with the same query."""
    path, mark, query = address.target.partition("?")
    made = f"{path.rsplit('/', 1)[0]}/{quote(location)}{mark}{query}"
    return Address(made, address.scheme, made)


def stored(uri: str, said: str) -> str:
    """Returns the name of a file of the store."""
    rest = uri.partition(":")[2]
    if not rest.startswith("//") or rest == "//":
        raise BadRequest(f"{said} has no file name: write store://<path>")
    return rest[2:]


def on_disk(uri: str, said: str) -> str:
    """Returns a path on the store's disk."""
    rest = uri.partition(":")[2]
    host, mark, path = rest[2:].partition("/") if rest.startswith("//") else ("", rest[:1], rest[1:])
    if host.lower() not in ("", "localhost"):
        raise BadRequest(f'{said} has the host "{host}": {_FILE}')
    found = unquote(path, errors="strict") if _decodes(path) else ""
    if mark != "/" or not found or _CONTROL.search(found):
        raise BadRequest(f"{said} has no file name: {_FILE}")
    return f"/{found}"


def in_bucket(uri: str, said: str) -> str:
    """Returns the bucket, or the repository, and the path of a file in it."""
    rest = uri.partition("://")[2]
    bucket, _, path = rest.partition("/")
    if not bucket or not path or path.endswith("/"):
        scheme = uri.partition(":")[0].lower()
        raise BadRequest(f"{said} has no file name: write {scheme}://<{_HOLDERS[scheme]}>/<path>")
    if ".." in path.split("/"):
        raise BadRequest(f"{said} leaves its folder: write a path without ..")
    return rest


def in_claim(uri: str, said: str) -> str:
    """Returns the name of a claim and the path of a file on it."""
    rest = uri.partition("://")[2]
    claim, _, path = rest.partition("/")
    if not _OBJECT.fullmatch(claim):
        raise BadRequest(f'{said} has "{claim}" for a claim: write pvc://<claim>/<path>')
    if not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise BadRequest(f"{said} has no file name: write pvc://<claim>/<path>, without .. and //")
    return rest


def _decodes(path: str) -> bool:
    try:
        return bool(unquote(path, errors="strict"))
    except UnicodeDecodeError:
        return False


def url(uri: str, said: str) -> str:
    """Returns a URL as it is requested."""
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
