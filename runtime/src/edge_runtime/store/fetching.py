"""`edge-runtime fetch`: reads a model with a Secret or from a volume, and puts it into the store.

A Job in the namespace of a service runs it. The Secret is its environment and a folder,
the volume is another folder.
What a file of the model pins beside it comes along.
"""

from __future__ import annotations

import argparse
import logging
import netrc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from edge_api.words import shown
from edge_runtime.errors import BadRequest, DigestMismatch, NotFound, Refused, UnsupportedScheme
from edge_runtime.slicing.reading import parse
from edge_runtime.slicing.tensordata import pins
from edge_runtime.store.access_flags import access_of
from edge_runtime.store.addresses import Address
from edge_runtime.store.client import Sending, StoreClient
from edge_runtime.store.downloads import download
from edge_runtime.store.progress import ProgressBar
from edge_runtime.store.reachable import Reachable, internal_places
from edge_runtime.store.receiving import Receiver
from edge_runtime.store.remote.apart import Credentials, read_apart
from edge_runtime.store.schemes import address_of, source_of

_CHUNK: Final = 1 << 20
_LARGEST_MODEL: Final = 2 << 30
"""Bytes of the largest file that can be an ONNX model, which is one message of protobuf."""
_log = logging.getLogger(__name__)

Read = Callable[[Address, Receiver, str], None]


def run(arguments: argparse.Namespace) -> int:
    """Runs the command. Raises what a store that fetched the file itself would."""
    hosts, networks = internal_places(arguments.allow_internal)
    allowed = Reachable((), hosts, networks, frozenset(arguments.plain_http))
    credentials = Credentials(dict(os.environ), arguments.secret_dir)
    client = StoreClient(access_of(arguments))

    def read(address: Address, receiver: Receiver, said: str) -> None:
        read_source(address, receiver, said, allowed, credentials, arguments.volume)

    try:
        fetch(client, read, arguments.source, arguments.name, arguments.field, arguments.digest)
        if arguments.with_data:
            fetch_data(client, read, arguments.source, arguments.name, arguments.field)
    finally:
        client.close()
    return 0


def fetch(
    client: StoreClient, read: Read, uri: str, name: str, field: str = "model", digest: str | None = None
) -> None:
    """Puts the file at an address into the store under a name."""
    _put(client, read, address_of(uri, f"{field}.storageUri"), name, field, digest)


def fetch_data(client: StoreClient, read: Read, uri: str, name: str, field: str) -> None:
    """Puts the external data that the model with a name pins beside it."""
    address, folder = address_of(uri, f"{field}.storageUri"), name.rpartition("/")[0]
    response = client.request("GET", f"/v1/files/{name}")
    if len(response.content) > _LARGEST_MODEL:
        return
    for location, digest in pins(parse(response.content)).items():
        beside = source_of(address).beside(address, location)
        _put(client, read, beside, f"{folder}/{location}".lstrip("/"), field, digest)


def _put(
    client: StoreClient, read: Read, address: Address, name: str, field: str, digest: str | None
) -> None:
    said = f"{field}.storageUri: {shown(address.uri)}"
    with ProgressBar(f"fetch {address.uri}") as bar:
        sending = Sending(client, name, bar.update)
        read(address, sending, said)
        try:
            stored = sending.end(digest)
        except DigestMismatch as error:
            raise DigestMismatch(f"{field}.{error}") from error
    _log.info("stored %s: %s, %d bytes", name, stored["digest"], stored["size"])


def read_source(
    address: Address,
    receiver: Receiver,
    said: str,
    allowed: Reachable,
    credentials: Credentials,
    volume: Path | None,
) -> None:
    """Passes the file at an address to `receiver`, with the credentials of a Secret.

    Raises NotFound, Refused, Unreachable, BadRequest and UnsupportedScheme, beginning with `said`.
    """
    match address.scheme:
        case "https" | "http":
            download(address.target, receiver, said, allowed, _login(address.target, credentials))
        case "s3" | "gs" | "hf" | "oci":
            read_apart(address.scheme, address.target, receiver, said, allowed, credentials)
        case "pvc":
            _read_volume(address.target.partition("/")[2], receiver, said, volume)
        case _:
            raise UnsupportedScheme(f"{said} is read by the model store itself: remove secretName")


def _login(url: str, credentials: Credentials) -> tuple[str, str] | None:
    """Returns user and password of a host, from the Secret's .netrc; only over TLS."""
    path, parts = credentials.file(".netrc", "netrc"), urlsplit(url)
    if path is None or parts.scheme != "https":
        return None
    try:
        found = netrc.netrc(str(path)).authenticators(parts.hostname or "")
    except (netrc.NetrcParseError, OSError) as error:
        raise BadRequest(
            f"secretName: .netrc cannot be read ({error}): write machine, login, password"
        ) from None
    return None if found is None else (found[0] or "", found[2] or "")


def _read_volume(path: str, receiver: Receiver, said: str, volume: Path | None) -> None:
    if volume is None:
        raise BadRequest("--volume: missing: name the folder where the claim is mounted")
    file = (volume / path).resolve()
    if not file.is_relative_to(volume.resolve()):
        raise Refused(f"{said} is a link out of the volume: write the address of the file itself")
    try:
        source = file.open("rb")  # an error of the receiver is not one of reading
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFound(f"{said} does not exist on the volume: correct the path") from error
    except OSError as error:
        raise Refused(
            f"{said} cannot be read ({error.strerror}): make the file readable for user and group 65532"
        ) from error
    with source:
        details = os.fstat(source.fileno())
        source.seek(receiver.begin(details.st_size, f"{details.st_mtime_ns}-{details.st_ino}"))
        try:
            while chunk := source.read(_CHUNK):
                receiver.write(chunk)
        except OSError as error:
            raise Refused(f"{said} cannot be read ({error.strerror}): check the volume") from error
