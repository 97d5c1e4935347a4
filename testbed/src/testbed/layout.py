"""Where the testbed of a checkout keeps its things, and the names that derive from the checkout's path."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Folders of one testbed, absolute. `cache` outlives `down`, `state` does not (except `logs`).

    `sources` is the checkout that the images are built from.
    """

    root: Path
    cache: Path
    sources: Path

    @classmethod
    def of_checkout(cls, root: Path, cache: Path | None = None, sources: Path | None = None) -> Layout:
        root = root.resolve()
        return cls(root, (cache or root / ".cache").resolve(), (sources or root).resolve())

    @cached_property
    def name(self) -> str:
        """Names what the kernel shares between checkouts: the control groups."""
        return f"testbed-{hashlib.sha256(str(self.root).encode()).hexdigest()[:10]}"

    @property
    def state(self) -> Path:
        return self.root / ".testbed"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def machines(self) -> Path:
        return self.state / "machines"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def plan(self) -> Path:
        return self.state / "plan.json"

    @property
    def booted(self) -> Path:
        """There once `up` came to its end."""
        return self.state / "booted"

    def clear_logs(self) -> None:
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)

    @property
    def lock(self) -> Path:
        """Beside the caches, so that removing `state` never takes a lock away from under its holder."""
        return self.cache / f"{self.name}.lock"

    @property
    def binaries(self) -> Path:
        return self.cache / "bin"

    @property
    def images(self) -> Path:
        return self.cache / "images"
