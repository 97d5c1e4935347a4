"""Addresses of models in OCI registries. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from edge_runtime.errors import BadRequest

FOLDER: Final = "models"
"""Where images have their models, as those that KServe mounts."""
_REFERENCE: Final = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(?::\d+)?|\[[0-9A-Fa-f:]+\](?::\d+)?)"
    r"/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """An image, and the file in it; path: empty for the only model in its folder `models`."""

    host: str
    name: str
    version: str
    path: str = ""

    @property
    def folder(self) -> str:
        """Folder of the model in the image."""
        return str(PurePosixPath(self.path).parent) if self.path else FOLDER


def reference_of(text: str, said: str) -> Reference:
    """Reads HOST/NAME:TAG#PATH, or with @DIGEST. Raises BadRequest, beginning with `said`."""
    image, _, path = text.partition("#")
    found = _REFERENCE.fullmatch(image)
    if found is None:
        raise BadRequest(f"{said} is not an image: write oci://<registry>/<name>:<tag>, or @sha256:<digest>")
    parts = PurePosixPath(path.lstrip("/")).parts
    if ".." in parts:
        raise BadRequest(f"{said} leaves the image's folders: write a path without ..")
    version = found["digest"] or found["tag"] or "latest"
    return Reference(found["host"], found["name"], version, "/".join(parts))
