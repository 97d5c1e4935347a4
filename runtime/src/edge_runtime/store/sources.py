"""Fetches a model from its storageUri. Blocking: call it off the event loop."""

from __future__ import annotations

import contextlib
from pathlib import Path

from edge_api.words import shown
from edge_runtime.errors import DigestMismatch, NotFound, Unreachable
from edge_runtime.slicing.reading import parse
from edge_runtime.slicing.tensordata import inside, pins
from edge_runtime.store.addresses import Address, address_of
from edge_runtime.store.blobs import Blobs, Incoming, Stored
from edge_runtime.store.downloads import download

_CHUNK = 1 << 20


def fetch(uri: str, digest: str | None, blobs: Blobs, field: str = "model") -> Stored:
    """Copies the content of `uri` into the blobs, and checks it against `digest` if given.

    field: what it is, for messages.

    Raises BadRequest, UnsupportedScheme, NotFound, Refused, Unreachable, DigestMismatch and TooLarge.
    """
    address = address_of(uri, f"{field}.storageUri")
    if digest is not None:
        with contextlib.suppress(NotFound, DigestMismatch):
            return Stored(digest, blobs.check_blob(digest))
    return _receive(address, digest, blobs, f"{field}.digest", f"{field}.storageUri")


def fetch_data(uri: str, model: bytes, blobs: Blobs) -> None:
    """Copies a model's external data, which the file must pin by digest.

    It is next to the model, at the locations that the file names. Raises like `fetch`, and BadRequest for a
    location, or a link on its path, that leaves the model's folder.
    """
    for location, digest in pins(parse(model)).items():
        if not blobs.blob_path(digest).is_file():
            address = address_of(uri, "model.storageUri")
            if address.scheme == "file":
                inside(Path(address.target).parent, location)
            _receive(address.beside(location), digest, blobs, f"model's data {location}", "model.storageUri")


def _receive(address: Address, digest: str | None, blobs: Blobs, field: str, where: str) -> Stored:
    said = f"{where}: {shown(address.uri)}"
    with blobs.receive(None, digest, field) as incoming:
        match address.scheme:
            case "store":
                incoming.write(blobs.read_file(address.target))
            case "file":
                _copy(Path(address.target), incoming, said)
            case _:
                download(address.target, incoming.write, said)
    return Stored(incoming.digest, incoming.size)


def _copy(path: Path, incoming: Incoming, said: str) -> None:
    try:
        source = path.open("rb")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError) as error:
        raise NotFound(f"{said} cannot be read: no such file on the machine of the model store") from error
    except OSError as error:
        raise Unreachable(f"{said} cannot be read ({error.strerror})") from error
    with source:
        while chunk := source.read(_CHUNK):
            incoming.write(chunk)
