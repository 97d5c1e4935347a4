"""Writes container images of static programs as OCI archives, without external tools."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_MEDIA = "application/vnd.oci.image"


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def write_program_image(
    program: Path,
    entrypoint: str,
    reference: str,
    target: Path,
    architecture: str,
    others: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Writes the image `reference`, which starts `program` as /`entrypoint`. Reproducible byte for byte.

    others: more programs, by their paths in the image.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, file in {entrypoint: program, **others}.items():
            _add(archive, path, file.read_bytes(), 0o755)
    layer = buffer.getvalue()
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, media: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [f"/{entrypoint}"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), f"{_MEDIA}.config.v1+json"),
        "layers": [blob(layer, f"{_MEDIA}.layer.v1.tar")],
    }
    entry = blob(json.dumps(manifest).encode(), f"{_MEDIA}.manifest.v1+json")
    index = {
        "schemaVersion": 2,
        "manifests": [{**entry, "annotations": {"io.containerd.image.name": reference}}],
    }
    unfinished = target.with_name(f".{target.name}.new")
    with tarfile.open(unfinished, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(archive, "index.json", json.dumps(index).encode())
        for digest, data in blobs.items():
            _add(archive, f"blobs/sha256/{digest}", data)
    unfinished.replace(target)
