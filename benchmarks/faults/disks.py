"""Full disks and damaged files of containers, from outside of them.

A folder of a container is a part of the machine's disk. So that a full disk fills nothing else, the folder's
content is copied to a small file system, which is mounted on the same path in this container alone, and what
changed there is copied back at the end.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from testbed import TestbedError

# Runs as root in the container's mount namespace. Its own file system is read-only: only these folders exist.
_PROGRAM: Final = '''
import ctypes, os, pathlib, shutil, sys

LIBC = ctypes.CDLL(None, use_errno=True)
SMALL, BELOW = "/mnt", "/media"
verb, folder = sys.argv[1:3]


def mount(source, target, kind, flags, data=""):
    if LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()):
        raise OSError(ctypes.get_errno(), f"mount {target}")


def copied(source, target):
    """Makes a tree as another one."""
    names = set()
    for path in sorted(pathlib.Path(source).rglob("*")):
        if path.name == ".filler":
            continue
        name = path.relative_to(source)
        names.add(name)
        state, to = path.stat(), pathlib.Path(target, name)
        if path.is_dir():
            to.mkdir(exist_ok=True)
        elif not to.exists() or (to.stat().st_size, to.stat().st_mtime) != (state.st_size, state.st_mtime):
            shutil.copy2(path, to)
        os.chown(to, state.st_uid, state.st_gid)
        to.chmod(state.st_mode & 0o7777)
    for path in sorted(pathlib.Path(target).rglob("*"), reverse=True):
        if path.relative_to(target) not in names:
            path.rmdir() if path.is_dir() else path.unlink()


if verb == "fill":
    files = [path for path in pathlib.Path(folder).rglob("*")]
    pages = sum(path.stat().st_size // 4096 + 2 for path in files)
    mount("tmpfs", SMALL, "tmpfs", 0, f"size={(pages + 256) * 4096},mode=1777")
    mount(folder, BELOW, "", 4096)
    state = os.stat(folder)
    copied(folder, SMALL)
    os.chown(SMALL, state.st_uid, state.st_gid)
    os.chmod(SMALL, state.st_mode & 0o7777)
    mount(SMALL, folder, "", 4096)
    try:
        with open(f"{folder}/.filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
    except OSError as error:
        assert error.errno == 28, error
else:
    copied(SMALL, BELOW)
    for target in (folder, BELOW, SMALL):
        LIBC.umount2(target.encode(), 2)
'''


@contextmanager
def filled(process: int, folder: str) -> Iterator[None]:
    """A folder of a container has no free byte. process: one of the container's. Raises TestbedError."""
    _inside(process, "fill", folder)
    try:
        yield
    finally:
        _inside(process, "empty", folder)


def listed(process: int, folder: str) -> list[str]:
    """The names in a folder of a container."""
    return sorted(path.name for path in Path(f"/proc/{process}/root{folder}").iterdir())


def damaged(process: int, folder: str, names: frozenset[str]) -> list[str]:
    """Changes a byte in the middle of each of these files below a folder of a container that exist.

    Returns their names.
    """
    found = []
    for path in Path(f"/proc/{process}/root{folder}").rglob("*"):
        if path.name in names and path.is_file():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(bytes(content))
            found.append(path.name)
    return sorted(found)


def _inside(process: int, verb: str, folder: str) -> None:
    command = ["nsenter", f"--target={process}", "--mount", "--", "python3", "-c", _PROGRAM, verb, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TestbedError(f"{verb} {folder} of process {process}: {done.stderr.strip()[-500:]}")
