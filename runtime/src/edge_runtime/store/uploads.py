"""Uploads in parts: a client that lost the connection continues from what arrived. Blocking.

An upload is `incoming/upload-ID` with its description beside it. Its ID follows from what is uploaded and for
whom, so that a client that starts again finds what arrived. One without a new part for a day is removed when
the store starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_api.words import shown
from edge_runtime.errors import BadRequest, DigestMismatch, NotFound, TooLarge
from edge_runtime.json_values import Json
from edge_runtime.store.blobs import Blobs, Stored, check_digest
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.receiving import check_room
from edge_runtime.store.transfers import Transfer

_PREFIX: Final = "upload-"
_LONGEST_VERSION: Final = 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that is not complete. namespace: whose file it will be."""

    id: str
    namespace: str | None
    name: str
    size: int | None
    path: Path

    @property
    def offset(self) -> int:
        """Bytes that arrived."""
        return self.path.stat().st_size

    def document(self) -> dict[str, Any]:
        """The upload as JSON."""
        return {"id": self.id, "name": self.name, "size": self.size, "offset": self.offset}


class Uploads:
    """The uploads in a folder of blobs."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._writing: set[str] = set()
        """Uploads whose next part arrives."""

    def begin(self, request: Json, holdings: Holdings) -> dict[str, Any]:
        """Begins the upload `{"name", "size"?, "version"?}`, or finds it with the bytes that arrived before.

        version: differs if the bytes do; without it, they are sent from the start. Raises BadRequest,
        TooLarge and DiskFull.
        """
        found = request if isinstance(request, dict) else {}
        name, size, version = found.get("name"), found.get("size"), found.get("version", "")
        if not isinstance(name, str) or not isinstance(version, str) or len(version) > _LONGEST_VERSION:
            raise BadRequest('name: missing: send {"name": "digits.onnx", "size": 1234, "version": "…"}')
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            raise BadRequest(f"size: {shown(size)} is not a number of bytes: write that of the file")
        if size is not None and size > self._blobs.limit:
            raise TooLarge(
                f"{name}: {size} bytes are more than the {self._blobs.limit} of the store: raise its "
                "--max-bytes or send less"
            )
        holdings.file_path(name)
        what = json.dumps([holdings.namespace, name, size, version])
        upload = self._upload(hashlib.sha256(what.encode()).hexdigest()[:32], holdings.namespace, name, size)
        if not version or not upload.path.is_file():
            upload.path.write_bytes(b"")
        check_room(upload.path.parent, (size or 0) - upload.offset, f"{name}: {size} bytes")
        described = {"namespace": holdings.namespace, "name": name, "size": size}
        self._description(upload.id).write_text(json.dumps(described))
        return upload.document()

    def find(self, upload_id: str, holdings: Holdings) -> Upload:
        """Returns an upload of the namespace. Raises NotFound."""
        safe = upload_id if upload_id.isalnum() and upload_id.isascii() else "-"
        try:
            described = json.loads(self._description(safe).read_bytes())
            found = self._upload(safe, described["namespace"], described["name"], described["size"])
            if found.namespace == holdings.namespace and found.path.is_file():
                return found
        except (FileNotFoundError, ValueError, KeyError):
            pass
        raise NotFound(f"upload: {shown(upload_id)} does not exist: begin it with POST /v1/uploads")

    def begin_part(self, upload: Upload, offset: int) -> None:
        """Reserves an upload for one part. Raises BadRequest for another offset, or during another part."""
        if upload.id in self._writing:
            raise BadRequest("upload: another part arrives: send one after the other")
        if offset != upload.offset:
            raise BadRequest(
                f"upload-offset: {offset} is not the {upload.offset} bytes that arrived: send the rest from "
                "there"
            )
        self._writing.add(upload.id)

    def end_part(self, upload: Upload) -> None:
        """Lets the next part begin."""
        self._writing.discard(upload.id)

    def append(self, upload: Upload, chunk: bytes) -> None:
        """Adds bytes. Raises TooLarge above the store's limit, and BadRequest above the upload's size."""
        after = upload.offset + len(chunk)
        if upload.size is not None and after > upload.size:
            raise BadRequest(f"body: {after} bytes are more than the announced {upload.size}: begin again")
        if after > self._blobs.limit:
            raise TooLarge(f"body: larger than {self._blobs.limit} bytes: raise --max-bytes or send less")
        with upload.path.open("ab") as file:
            file.write(chunk)

    def complete(self, upload: Upload, digest: object, holdings: Holdings) -> Stored:
        """Stores the file under its name. Raises BadRequest and DigestMismatch.

        digest: that the file must have; None: any.
        """
        size = upload.offset
        if upload.size is not None and size != upload.size:
            raise BadRequest(f"upload: {size} bytes of {upload.size} arrived: send the rest")
        wanted = None if digest is None else check_digest(digest)
        with upload.path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if wanted not in (None, found):
            self._remove(upload)
            raise DigestMismatch(
                f"digest: expected {wanted}, but the {size} bytes received have {found}: correct the digest "
                "or the source"
            )
        self._blobs.settle(upload.path)
        self._blobs.move(upload.path, holdings.file_path(upload.name))
        self._remove(upload)
        return Stored(found, size)

    def listed(self, holdings: Holdings) -> Iterator[Transfer]:
        """Yields the uploads of a namespace that are not complete."""
        for description in sorted(self._folder.glob(f"{_PREFIX}*.json")):
            try:
                upload = self.find(description.stem.removeprefix(_PREFIX), holdings)
                yield Transfer(f"store://{upload.name}", upload.offset, upload.size)
            except (NotFound, FileNotFoundError):
                continue

    @property
    def _folder(self) -> Path:
        return self._blobs.root / "incoming"

    def _upload(self, upload_id: str, namespace: str | None, name: str, size: int | None) -> Upload:
        return Upload(upload_id, namespace, name, size, self._folder / f"{_PREFIX}{upload_id}")

    def _description(self, upload_id: str) -> Path:
        return self._folder / f"{_PREFIX}{upload_id}.json"

    def _remove(self, upload: Upload) -> None:
        upload.path.unlink(missing_ok=True)
        self._description(upload.id).unlink(missing_ok=True)
