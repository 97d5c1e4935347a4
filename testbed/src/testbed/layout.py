"""The folders of a checkout's testbed, and the names derived from the checkout's path."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Absolute paths of one testbed's folders. `down` keeps `cache`, and removes `state` except `logs`.

    `sources` is the checkout from which the images are built.
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
        """The name of this checkout's control groups, which are global in the kernel."""
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
    def audit(self) -> Path:
        """The API server's audit policy and log."""
        return self.state / "audit"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def plan(self) -> Path:
        return self.state / "plan.json"

    @property
    def booted(self) -> Path:
        """Exists once `up` has completed."""
        return self.state / "booted"

    def clear_logs(self) -> None:
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)

    @property
    def lock(self) -> Path:
        """Next to the caches, so that removing `state` does not remove a lock that is held."""
        return self.cache / f"{self.name}.lock"

    @property
    def binaries(self) -> Path:
        return self.cache / "bin"

    @property
    def images(self) -> Path:
        return self.cache / "images"
