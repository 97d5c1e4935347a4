"""A folder of certificates as Kubernetes mounts it, and the authority that signs them."""

from __future__ import annotations

import datetime
import os
import shutil
import ssl
from pathlib import Path

from testbed.pki import Authority

NAMES = ("localhost", "127.0.0.1")


class Signer:
    """An authority."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority = Authority(folder, datetime.datetime.now(datetime.UTC))
        self._count = 0

    def pair(self, days: float = 0, hosts: tuple[str, ...] = NAMES, common: str = "") -> dict[str, bytes]:
        """A new tls.crt, tls.key and ca.crt; valid for 65 days and so many more."""
        self._count += 1
        self._authority.now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days - 300)
        name = f"pair-{self._count}"
        self._authority.issue(name, common or name, hosts=hosts)
        return {
            "tls.crt": (self.folder / f"{name}.crt").read_bytes(),
            "tls.key": (self.folder / f"{name}.key").read_bytes(),
            "ca.crt": (self.folder / "ca.crt").read_bytes(),
        }


class Mount:
    """`..data` is a link to the current folder; a change replaces it atomically."""

    def __init__(self, path: Path, files: dict[str, bytes]) -> None:
        self.path, self._count = path, 0
        path.mkdir(parents=True)
        self.swap(files)
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (path / name).symlink_to(Path("..data") / name)

    def swap(self, files: dict[str, bytes]) -> None:
        self._count += 1
        folder = self.path / f"..{self._count}"
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        old = (self.path / "..data").resolve() if (self.path / "..data").exists() else None
        (self.path / "..data_tmp").symlink_to(folder.name)
        os.replace(self.path / "..data_tmp", self.path / "..data")  # noqa: PTH105 - rename(2), as the kubelet does
        if old is not None:
            shutil.rmtree(old)


def caller(folder: Path, files: dict[str, bytes], *, with_certificate: bool = True) -> ssl.SSLContext:
    """TLS context of a client: it trusts ca.crt and presents tls.crt."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    if with_certificate:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context
