"""Fetches a model from its storageUri. Blocking: call it off the event loop."""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import quote, urlsplit

import fsspec

from edge_runtime.errors import BadRequest, DigestMismatch, NotFound, Unreachable, UnsupportedScheme
from edge_runtime.slicing.reading import parse
from edge_runtime.slicing.tensordata import inside, pins
from edge_runtime.store.blobs import Blobs, Stored

SCHEMES = ("store", "https", "http", "file")
_CHUNK = 1 << 20


def fetch(uri: str, digest: str | None, blobs: Blobs, field: str = "model") -> Stored:
    """Copies the bytes behind `uri` into the blobs, checked against `digest` where one is given.

    field: what it is, in messages.

    Raises UnsupportedScheme, NotFound (store://), Unreachable, DigestMismatch, TooLarge.
    """
    scheme = urlsplit(uri).scheme
    if scheme not in SCHEMES:
        raise UnsupportedScheme(
            f'{field}.storageUri: "{uri}" has scheme "{scheme}"; '
            f"use one of {', '.join(s + '://' for s in SCHEMES)}"
        )
    if digest is not None:
        with contextlib.suppress(NotFound, DigestMismatch):
            return Stored(digest, blobs.check_blob(digest))
    if uri == "store://":
        raise BadRequest(f'{field}.storageUri: "{uri}" names no file; write store://<path>')
    return _receive(uri, digest, blobs, f"{field}.digest", f"{field}.storageUri")


def fetch_data(uri: str, model: bytes, blobs: Blobs) -> None:
    """Copies what a model keeps outside its file, where the file pins it by digest.

    It lies beside the model, at the locations that the file names. Raises as `fetch`, and BadRequest for a
    location, or a link on the way to it, that leaves the model's folder.
    """
    for location, digest in pins(parse(model)).items():
        if not blobs.blob_path(digest).is_file():
            folder = uri.rsplit("/", 1)[0]
            if urlsplit(uri).scheme == "file":
                inside(Path(urlsplit(uri).path).parent, location)
            name = quote(location) if folder.startswith("http") else location
            _receive(f"{folder}/{name}", digest, blobs, f"model's data {location}", "model.storageUri")


def _receive(uri: str, digest: str | None, blobs: Blobs, field: str, where: str) -> Stored:
    scheme, name = urlsplit(uri).scheme, uri.removeprefix("store://")
    with blobs.receive(None, digest, field) as incoming:
        if scheme == "store":
            incoming.write(blobs.read_file(name))
        else:
            try:
                with fsspec.open(uri, "rb") as source:
                    while chunk := source.read(_CHUNK):
                        incoming.write(chunk)
            # Each of fsspec's backends fails in its own classes; only those of the disk and the limit are
            # ours.
            except OSError as error:
                raise Unreachable(f'{where}: "{uri}" cannot be read ({_cause(error)})') from error
            except Exception as error:
                if type(error).__module__.startswith("edge_runtime"):
                    raise
                raise Unreachable(f'{where}: "{uri}" cannot be read ({_cause(error)})') from error
    return Stored(incoming.digest, incoming.size)


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
