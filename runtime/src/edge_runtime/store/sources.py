"""Fetches a model from its storageUri. Blocking: call it off the event loop."""

from __future__ import annotations

from urllib.parse import urlsplit

import fsspec

from edge_runtime.errors import BadRequest, Unreachable, UnsupportedScheme
from edge_runtime.store.blobs import Blobs, Stored

SCHEMES = ("store", "https", "http", "file")
_CHUNK = 1 << 20


def fetch(uri: str, digest: str | None, blobs: Blobs) -> Stored:
    """Copies the bytes behind `uri` into the blobs, checked against `digest` where one is given.

    Raises UnsupportedScheme, NotFound (store://), Unreachable, DigestMismatch, TooLarge.
    """
    scheme = urlsplit(uri).scheme
    if scheme not in SCHEMES:
        raise UnsupportedScheme(
            f'model.storageUri: "{uri}" has scheme "{scheme}"; '
            f"use one of {', '.join(s + '://' for s in SCHEMES)}"
        )
    if digest is not None and blobs.blob_path(digest).is_file():
        return Stored(digest, blobs.blob_path(digest).stat().st_size)
    name = uri.removeprefix("store://")
    if not name:
        raise BadRequest(f'model.storageUri: "{uri}" names no file; write store://<path>')
    with blobs.receive(None, digest, "model.digest") as incoming:
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
                raise Unreachable(f'model.storageUri: "{uri}" cannot be read ({_cause(error)})') from error
            except Exception as error:
                if type(error).__module__.startswith("edge_runtime"):
                    raise
                raise Unreachable(f'model.storageUri: "{uri}" cannot be read ({_cause(error)})') from error
    return Stored(incoming.digest, incoming.size)


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
