"""Writes container images as OCI archives, without external tools: of static programs, and derived ones."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

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


def write_derived_image(base: Path, reference: str, files: Mapping[str, bytes], target: Path) -> None:
    """Writes the image `reference`, which has further files beside those of another archive's image.

    files: their contents, by their paths in the image.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in files.items():
            _add(archive, path, data)
    layer = buffer.getvalue()
    with tarfile.open(base) as archive:
        members = [(member.name, archive.extractfile(member)) for member in archive if member.isfile()]
        blobs = {name: file.read() for name, file in members if file is not None}

    def found(entry: Mapping[str, object]) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(blobs[_path(str(entry["digest"]))])
        return document

    def changed(entry: Mapping[str, object], data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blobs[_path(digest)] = data
        return {**entry, "digest": digest, "size": len(data)}

    index = json.loads(blobs["index.json"])
    (entry,) = index["manifests"]
    manifest = found(entry)
    config = found(manifest["config"])
    config["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(layer).hexdigest()}")
    config.pop("history", None)  # it has an entry for each layer
    manifest["config"] = changed(manifest["config"], json.dumps(config).encode())
    manifest["layers"].append(changed({"mediaType": f"{_MEDIA}.layer.v1.tar"}, layer))
    derived = changed(entry, json.dumps(manifest).encode())
    derived["annotations"] = {"io.containerd.image.name": reference}
    blobs["index.json"] = json.dumps({**index, "manifests": [derived]}).encode()
    with tarfile.open(target, "w") as archive:
        for name, data in blobs.items():
            _add(archive, name, data)


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
