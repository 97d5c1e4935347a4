"""Fetches a model from its storageUri. Blocking: call it off the event loop."""

from __future__ import annotations

import contextlib

from edge_api.words import shown
from edge_runtime.errors import DigestMismatch, NotFound
from edge_runtime.slicing.reading import parse
from edge_runtime.slicing.tensordata import pins
from edge_runtime.store.addresses import Address
from edge_runtime.store.blobs import Blobs, Stored
from edge_runtime.store.reachable import NOTHING, Reachable
from edge_runtime.store.schemes import Origin, address_of, source_of


def fetch(
    uri: str, digest: str | None, blobs: Blobs, field: str = "model", allowed: Reachable = NOTHING
) -> Stored:
    """Copies the content of `uri` into the blobs, and checks it against `digest` if given.

    field: what it is, for messages. allowed: what file:// and internal addresses may be read.

    Raises BadRequest, UnsupportedScheme, NotFound, Refused, Unreachable, DigestMismatch and TooLarge.
    """
    address = address_of(uri, f"{field}.storageUri")
    if digest is not None:
        with contextlib.suppress(NotFound, DigestMismatch):
            return Stored(digest, blobs.check_blob(digest))
    return _receive(address, digest, Origin(blobs, allowed), f"{field}.digest", f"{field}.storageUri")


def fetch_data(uri: str, model: bytes, blobs: Blobs, allowed: Reachable = NOTHING) -> None:
    """Copies a model's external data, which the file must pin by digest.

    It is next to the model, at the locations that the file names. Raises like `fetch`, and BadRequest for a
    location, or a link on its path, that leaves the model's folder.
    """
    for location, digest in pins(parse(model)).items():
        if not blobs.blob_path(digest).is_file():
            address = address_of(uri, "model.storageUri")
            beside = source_of(address).beside(address, location)
            _receive(beside, digest, Origin(blobs, allowed), f"model's data {location}", "model.storageUri")


def _receive(address: Address, digest: str | None, origin: Origin, field: str, where: str) -> Stored:
    with origin.blobs.receive(None, digest, field) as incoming:
        source = source_of(address)
        source.read(address.target, origin, incoming.write, f"{where}: {shown(address.uri)}")
    return Stored(incoming.digest, incoming.size)
