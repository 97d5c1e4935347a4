"""What a namespace has in the store: its files by name, its models, and the blobs that it may read by digest.

Blobs are stored once, whatever the number of namespaces that have them. `namespaces/NAME/blobs` has an empty
file for each blob that the namespace uploaded, fetched or had cut; `files` and `models` beside it are its
own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import NotFound
from edge_runtime.store.blobs import Blobs, check_digest, named_file
from edge_runtime.store.earlier_metadata import in_this_form


@dataclass(frozen=True, slots=True)
class Holdings:
    """namespace: None has all blobs, and the files and models that belong to no namespace.

    inherits: may take over what belongs to no namespace.
    """

    blobs: Blobs
    namespace: str | None = None
    inherits: bool = False

    @property
    def folder(self) -> Path:
        """Folder of its files, models and marks."""
        root = self.blobs.root
        return root if self.namespace is None else root / "namespaces" / self.namespace

    def file_path(self, name: str) -> Path:
        """Path of a named file, whether it exists or not. Raises BadRequest for an invalid name."""
        return named_file(self.folder / "files", name)

    def read_file(self, name: str) -> bytes:
        """Returns the bytes of a named file. Raises NotFound."""
        path = self.file_path(name)
        if not path.is_file() and self.inherits:
            path = named_file(self.blobs.root / "files", name)
        if not path.is_file():
            raise self._no_file(name)
        return path.read_bytes()

    def check_own_file(self, name: str) -> None:
        """Raises NotFound unless it has a named file itself."""
        if not self.file_path(name).is_file():
            raise self._no_file(name)

    def holds(self, digest: str) -> bool:
        """Whether it may read a blob by digest, if there is one."""
        return self.namespace is None or self._mark(self.namespace, digest).is_file()

    def takes(self, digest: str, model: str) -> bool:
        """Whether a blob that the store has need not be fetched: it has it, or inherits it.

        Only what no namespace has yet is inherited, of a model that was registered without tokens.
        """
        if self.holds(digest):
            return True
        earlier = self.blobs.root / "models" / _metadata_file(model)
        taken = (self._mark(name, digest) for name in self._namespaces())
        return self.inherits and earlier.is_file() and not any(mark.is_file() for mark in taken)

    def keep(self, digest: str) -> None:
        """Remembers that it has a blob."""
        if self.namespace is not None and not self.holds(digest):
            self.blobs.put(b"", self._mark(self.namespace, digest))

    def read_blob(self, digest: str) -> bytes:
        """Returns a blob it has. Raises NotFound, also for those of others: whether they exist is private."""
        self.check_holds(digest)
        return self.blobs.read_blob(digest)

    def check_holds(self, digest: str) -> None:
        """Raises NotFound unless it may read a blob."""
        if not self.holds(digest):
            raise NotFound(
                f"digest: no blob {digest} in namespace {self.namespace} of this store: PUT it or its model "
                "first"
            )

    def metadata(self, digest: str) -> dict[str, Any] | None:
        """Metadata of a model; None if it is missing or damaged, so that it is rebuilt."""
        found = document(self.metadata_path(digest))
        return None if found is None else in_this_form(found)

    def metadata_path(self, digest: str) -> Path:
        """Path of a model's metadata, whether it exists or not."""
        return self.folder / "models" / _metadata_file(digest)

    def every_metadata(self, digest: str) -> Iterator[dict[str, Any]]:
        """Metadata of a model, of every namespace if it belongs to none itself."""
        folders = [self.folder]
        if self.namespace is None:
            folders += [self.blobs.root / "namespaces" / name for name in self._namespaces()]
        for folder in folders:
            found = document(folder / "models" / _metadata_file(digest))
            if found is not None:
                yield in_this_form(found)

    def check_registered(self, digest: str) -> None:
        """Raises NotFound for a model that the namespace did not register."""
        if self.namespace is not None and not self.metadata_path(digest).is_file():
            raise not_registered(digest, self.namespace)

    def _no_file(self, name: str) -> NotFound:
        where = "this store" if self.namespace is None else f"namespace {self.namespace} of this store"
        return NotFound(f'path: no file "{name}" in {where}: PUT /v1/files/{name} first')

    def _mark(self, namespace: str, digest: str) -> Path:
        name = check_digest(digest).removeprefix("sha256:")
        return self.blobs.root / "namespaces" / namespace / "blobs" / name

    def _namespaces(self) -> list[str]:
        folder = self.blobs.root / "namespaces"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def not_registered(digest: str, namespace: str | None) -> NotFound:
    """The error for a model that is not registered."""
    where = "this store" if namespace is None else f"namespace {namespace} of this store"
    return NotFound(f"digest: no model {digest} in {where}: POST /v1/models with its storageUri first")


def document(path: Path) -> dict[str, Any] | None:
    """A document of the store; None if it is missing or damaged, so that it is rebuilt."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _metadata_file(digest: str) -> str:
    return f"{check_digest(digest).removeprefix('sha256:')}.json"
