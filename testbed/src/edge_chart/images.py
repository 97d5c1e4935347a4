"""The images that an installation of the chart pulls, and the values that pin them."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from edge_chart.parts import Image
from edge_chart.values import ChartValues


def references(version: str) -> list[str]:
    """Returns the images of an installation with default values; then those that values add, as comments."""
    values = ChartValues()
    always = [_reference(image, version) for image in (values.operator.image, values.runtime.image)]
    return [*always, f"# with triton.enabled: {_reference(values.triton.image, version)}"]


def pinned(digests: Mapping[str, str]) -> str:
    """Returns values, in YAML, that pin images. digests: by the part of the chart, e.g. operator."""
    return yaml.safe_dump({part: {"image": {"digest": digest}} for part, digest in sorted(digests.items())})


def digest_of(archive: Path) -> str:
    """Returns the digest by which a registry knows the image of an OCI archive."""
    with tarfile.open(archive) as files:
        index = files.extractfile("index.json")
        assert index is not None
        (manifest,) = json.load(index)["manifests"]
    return str(manifest["digest"])


def _reference(image: Image, version: str) -> str:
    host = f"{image.registry}/" if image.registry else ""
    return f"{host}{image.repository}:{image.tag or version}"
