"""Fetches a model from its storageUri. Blocking: call it off the event loop."""

from __future__ import annotations

import contextlib
import dataclasses

from edge_api.words import shown
from edge_runtime.errors import DigestMismatch, NotFound
from edge_runtime.slicing.reading import parse_light
from edge_runtime.slicing.tensordata import pins
from edge_runtime.store.addresses import Address
from edge_runtime.store.blobs import Stored
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.reachable import NOTHING, Reachable
from edge_runtime.store.schemes import Origin, StoreFiles, address_of, source_of


def fetch(
    uri: str, digest: str | None, holdings: Holdings, field: str = "model", allowed: Reachable = NOTHING
) -> Stored:
    """Copies the content of `uri` into the blobs, and checks it against `digest` if given.

    A digest alone gives no access: only a blob that `holdings` have is not read from its address again.
    field: what it is, for messages. allowed: what file:// and internal addresses may be read.

    Raises BadRequest, UnsupportedScheme, NotFound, Refused, Unreachable, DigestMismatch and TooLarge.
    """
    address = address_of(uri, f"{field}.storageUri")
    if digest is not None and holdings.takes(digest, digest):
        with contextlib.suppress(NotFound, DigestMismatch):
            stored = Stored(digest, holdings.blobs.check_blob(digest))
            holdings.keep(digest)
            return stored
    if digest is None:
        holdings = dataclasses.replace(holdings, inherits=False)
    return _receive(address, digest, Origin(holdings, allowed), f"{field}.digest", f"{field}.storageUri")


def fetch_data(uri: str, model: str, holdings: Holdings, allowed: Reachable = NOTHING) -> None:
    """Copies the external data of the model with a digest, which the file must pin by digest.

    It is next to the model, at the locations that the file names. Raises like `fetch`, and BadRequest for a
    location, or a link on its path, that leaves the model's folder.
    """
    light = parse_light(holdings.blobs.whole_blob(model), model)
    for location, digest in pins(light, model).items():
        if holdings.takes(digest, model) and holdings.blobs.blob_path(digest).is_file():
            holdings.keep(digest)
        else:
            address = address_of(uri, "model.storageUri")
            beside = source_of(address).beside(address, location)
            _receive(
                beside, digest, Origin(holdings, allowed), f"model's data {location}", "model.storageUri"
            )


def _receive(address: Address, digest: str | None, origin: Origin, field: str, where: str) -> Stored:
    source = source_of(address)
    try:
        said = f"{where}: {shown(address.uri)}"
        key = f"{origin.holdings.namespace} {address.uri}"
        with (
            origin.holdings.blobs.transfers.of(origin.holdings.namespace, address.uri) as progress,
            origin.holdings.blobs.receive(
                None, digest, field, key=key, said=said, progress=progress
            ) as incoming,
        ):
            source.read(address.target, origin, incoming, said)
    except DigestMismatch:
        # The message has the digest that was found, with which a namespace gets what it only inherits.
        if address.scheme == StoreFiles.scheme:
            origin.holdings.check_own_file(address.target)
        raise
    origin.holdings.keep(incoming.digest)
    return Stored(incoming.digest, incoming.size)
