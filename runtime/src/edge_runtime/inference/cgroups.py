"""Finds the limits of this process's cgroup and of its ancestors. Versions 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
MEMBERSHIPS: Final = Path("/proc/self/cgroup")


def folders(controller: str, root: Path = ROOT, memberships: Path = MEMBERSHIPS) -> Iterator[Path]:
    """The folders with this controller's files, from the process's own upward."""
    try:
        lines = memberships.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controllers if controllers else root
        if not base.is_dir():
            base = root / controller
        # Inside a container the path is the host's, and its end may be mounted as the root.
        folder = base / path.lstrip("/")
        for at in (folder, *folder.parents):
            yield at
            if at == base:
                break
