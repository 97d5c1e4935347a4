"""Puts the unit and the files that it runs on the host, and removes them. Blocking.

At each step, the host has either the former unit with its files or the new one: files get a folder of their
own by a rename, then the unit changes by another, then the former files are removed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from edge_runtime.errors import CannotInstall
from edge_runtime.model_store import write_whole
from edge_runtime.stand_in.runtime_files import RuntimeFiles
from edge_runtime.stand_in.units import MARKER, Unit

_log = logging.getLogger(__name__)

UNITS: Final = Path("etc/systemd/system")
_WANTED: Final = "multi-user.target.wants"
_RUNNING: Final = Path("/run/systemd/system")
_NFT: Final = ("usr/sbin/nft", "sbin/nft", "usr/bin/nft", "usr/local/sbin/nft")
_VERSIONS: Final = "versions"
_INCOMING: Final = ".incoming"
_CHECK: Final = 120.0
_CHROOT: Final = "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); os.execv(sys.argv[2], sys.argv[2:])"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit is installed.

    host: root folder of the host as this process sees it; `/` if it runs on the host itself. folder: for
    files, as the host sees it. name: of the unit.
    """

    host: Path
    folder: Path
    name: str

    @property
    def here(self) -> bool:
        """Whether this process runs on the host itself, not in a container."""
        return self.host == Path("/")

    @property
    def unit_file(self) -> Path:
        """The unit's file as this process sees it."""
        return self.host / UNITS / f"{self.name}.service"

    @property
    def link(self) -> Path:
        """The link by which the unit is started with the host."""
        return self.host / UNITS / _WANTED / f"{self.name}.service"

    def inside(self, path: Path) -> Path:
        """Returns a path of the host as this process sees it."""
        return self.host / path.relative_to("/")


def check_start(place: Place, home: Path) -> None:
    """Runs the copied program on the host. Raises CannotInstall if it does not start there."""
    program = str(home / "bin" / "edge-runtime")
    command = [sys.executable, "-c", _CHROOT, str(place.host), program, "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CHECK, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstall(f"{home}: the copied program does not start on the host: {error}") from error
    if done.returncode:
        shutil.rmtree(place.inside(home), ignore_errors=True)
        said = (done.stderr or done.stdout).strip()[-300:]
        raise CannotInstall(f"{home}: the copied program does not start on the host: {said}")


def install(
    place: Place,
    arguments: Sequence[str],
    *,
    redirects: bool,
    program: str,
    files: RuntimeFiles | None = None,
    check: Callable[[Place, Path], None] = check_start,
) -> Unit:
    """Installs a unit that runs this program with the arguments. Raises CannotInstall.

    redirects: whether the command redirects ports, for which it gets the path of nft. program: path of this
    program, for an installation on the host itself; else `files` are copied, and `check` runs the copy.
    """
    if not place.unit_file.parent.is_dir():
        raise CannotInstall(f"/{UNITS} does not exist on the host: it needs systemd")
    _refuse_foreign(place)
    nft = _nft(place.host) if redirects else None
    try:
        words = [*arguments, *(("--nft", str(nft)) if nft is not None else ())]
        if place.here:
            unit = Unit(place.name, [program, *words], version("edge-runtime"), nft)
        else:
            home = _copied(place, files or RuntimeFiles.of_this_process())
            check(place, home)
            unit = Unit(place.name, [str(home / "bin" / "edge-runtime"), *words], home.name, nft)
        write_whole(place.unit_file, unit.text.encode())
        place.unit_file.chmod(0o644)
        place.link.parent.mkdir(exist_ok=True)
        if not place.link.is_symlink():
            place.link.symlink_to(f"../{place.name}.service")
        _clear(place, unit.version)
    except OSError as error:
        raise CannotInstall(f"{error.filename or place.folder}: {error.strerror or error}") from error
    if place.here and _RUNNING.is_dir():
        _systemctl("daemon-reload")
        if not redirects:
            _systemctl("restart", f"{place.name}.service")
    return unit


def remove(place: Place) -> None:
    """Removes the unit with its files; does nothing without a unit. Raises CannotInstall."""
    _refuse_foreign(place)
    if place.here and _RUNNING.is_dir() and place.unit_file.exists():
        _systemctl("stop", f"{place.name}.service")
    try:
        place.link.unlink(missing_ok=True)
        place.unit_file.unlink(missing_ok=True)  # a process that serves the node sees it, and ends
        _remove_folder(place.inside(place.folder))
    except OSError as error:
        raise CannotInstall(f"{error.filename}: {error.strerror}") from error
    if place.here and _RUNNING.is_dir():
        _systemctl("daemon-reload")


def _copied(place: Place, files: RuntimeFiles) -> Path:
    """Returns the folder of the host with a copy of the files. Raises OSError and CannotInstall."""
    stamp = files.stamp()
    home = place.folder / _VERSIONS / stamp
    target = place.inside(home)
    if not target.is_dir():
        unfinished = target.with_name(f"{_INCOMING}-{stamp}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        try:
            files.copy(unfinished, home)
            os.sync()
            unfinished.replace(target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        _log.info("copied the files of version %s to %s", stamp, home)
    return home


def _clear(place: Place, stamp: str) -> None:
    """Removes the files of other versions, and of interrupted installations."""
    with contextlib.suppress(FileNotFoundError):
        for path in place.inside(place.folder / _VERSIONS).iterdir():
            if path.name != stamp:
                shutil.rmtree(path)


def _remove_folder(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    with contextlib.suppress(OSError):  # it may be a mount point
        folder.rmdir()


def _refuse_foreign(place: Place) -> None:
    try:
        text = place.unit_file.read_text(errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotInstall(f"{place.unit_file}: {error.strerror}") from error
    if not text.startswith(MARKER):
        raise CannotInstall(
            f"{place.unit_file}: another program's unit: choose another name with --name, or remove it"
        )


def _nft(host: Path) -> Path:
    for path in _NFT:
        if (host / path).exists():
            return Path("/", path)
    raise CannotInstall("the host has no program nft, which leads its ports: install the package nftables")


def _systemctl(*words: str) -> None:
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise CannotInstall(f"systemctl {' '.join(words)}: {error.strerror}") from error
    if done.returncode:
        raise CannotInstall(f"systemctl {' '.join(words)}: {done.stderr.strip()[:300]}")
