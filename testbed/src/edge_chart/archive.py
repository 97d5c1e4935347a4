"""Packs the chart as `helm package` does, with the same bytes for the same files."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import yaml

_IGNORED = (".git", ".helmignore")


def packed(chart: Path, folder: Path) -> Path:
    """Writes NAME-VERSION.tgz of a chart into a folder; returns its path."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    target = folder / f"{about['name']}-{about['version']}.tgz"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(chart.rglob("*")):
            if path.is_file() and path.name not in _IGNORED:
                entry = tarfile.TarInfo(f"{about['name']}/{path.relative_to(chart)}")
                data = path.read_bytes()
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    target.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
    return target
