"""Copies this program with its interpreter and libraries, so that it runs on a host that has none of them.

Blocking. The copy starts with its own dynamic loader: it needs only the host's kernel and /bin/sh.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from edge_runtime.errors import CannotInstall

_LOCALE: Final = Path("/usr/lib/locale/en_US.utf8")
_UNUSED: Final = shutil.ignore_patterns(
    "__pycache__", "site-packages", "dist-packages", "test", "idlelib", "tkinter", "config-*"
)
_LISTED: Final = re.compile(r"(?:(\S+) => )?(/\S+) \(0x[0-9a-f]+\)")
_PT_INTERP: Final = 3


@dataclass(frozen=True, slots=True)
class RuntimeFiles:
    """What a copy consists of.

    program: the interpreter. library: its standard library. packages: folders of modules, in the order in
    which they are searched.
    """

    program: Path
    library: Path
    packages: tuple[Path, ...]

    @classmethod
    def of_this_process(cls) -> RuntimeFiles:
        """The files that this process runs from."""
        library = Path(sysconfig.get_path("stdlib"))
        folders = [Path(entry).resolve() for entry in sys.path if entry]
        own = [each for each in dict.fromkeys(folders) if each.is_dir() and not _standard(each, library)]
        return cls(Path(sys.executable).resolve(), library, tuple(own))

    def stamp(self) -> str:
        """Returns the version, with a digest of the names and sizes of all files."""
        found = hashlib.sha256()
        for folder in (self.library, *self.packages):
            for path in sorted(_files(folder)):
                found.update(f"{path}:{path.stat().st_size}\n".encode())
        return f"{version('edge-runtime')}-{found.hexdigest()[:12]}"

    def copy(self, target: Path, home: Path) -> None:
        """Copies everything into `target`. Raises OSError and CannotInstall.

        home: the path of `target` on the host, which the start scripts contain.
        """
        loader = interpreter_of(self.program)
        (target / "bin").mkdir(parents=True)
        (target / "lib").mkdir()
        library = Path("python", "lib", self.library.name)
        shutil.copytree(self.library, target / library, symlinks=False, ignore=_UNUSED)
        ignored = shutil.ignore_patterns("__pycache__")
        for number, folder in enumerate(self.packages):
            shutil.copytree(folder, target / "packages" / str(number), ignore=ignored)
        shutil.copy2(self.program, target / "bin" / "python.program")
        shutil.copy2(loader, target / "lib" / "loader")
        natives = [self.program]
        for folder in (target / library, target / "packages"):
            natives += [path for path in _files(folder) if ".so" in path.name]
        for name, path in _libraries(loader, natives).items():
            if not path.is_relative_to(target):
                shutil.copy2(path, target / "lib" / name)
        if _LOCALE.is_dir():
            shutil.copytree(_LOCALE, target / "locale" / _LOCALE.name)
        packages = ":".join(f"{home}/packages/{number}" for number in range(len(self.packages)))
        _write_script(
            target / "bin" / "python",
            f'export PYTHONHOME="{home}/python" PYTHONPATH="{packages}" PYTHONDONTWRITEBYTECODE=1\n'
            f'[ -d "{home}/locale" ] && export LOCPATH="{home}/locale"\n'
            f'exec "{home}/lib/loader" --argv0 "{home}/bin/python" --library-path "{home}/lib" '
            f'"{home}/bin/python.program" "$@"\n',
        )
        _write_script(target / "bin" / "edge-runtime", f'exec "{home}/bin/python" -m edge_runtime.cli "$@"\n')


def interpreter_of(program: Path) -> Path:
    """Returns the dynamic loader that an ELF program names. Raises CannotInstall without one."""
    with program.open("rb") as file:
        head = file.read(64)
        if len(head) == 64 and head[:5] == b"\x7fELF\x02":  # 64 bits
            order = "<" if head[5] == 1 else ">"
            (offset,) = struct.unpack_from(f"{order}Q", head, 32)
            size, count = struct.unpack_from(f"{order}HH", head, 54)
            for number in range(count):
                file.seek(offset + number * size)
                kind, _, start, _, _, length = struct.unpack(f"{order}IIQQQQ", file.read(40))
                if kind == _PT_INTERP:
                    file.seek(start)
                    return Path(file.read(length).rstrip(b"\0").decode())
    raise CannotInstall(f"{program}: not a program of 64 bits with a dynamic loader: it cannot be copied")


def _libraries(loader: Path, natives: Iterable[Path]) -> dict[str, Path]:
    """Returns the shared libraries that the files need, by the name by which they ask for them."""
    found: dict[str, Path] = {}
    for path in natives:
        done = subprocess.run([loader, "--list", path], capture_output=True, text=True, check=False)
        for name, where in _LISTED.findall(done.stdout):
            if name:
                found.setdefault(name.rpartition("/")[2], Path(where))
    return found


def _standard(folder: Path, library: Path) -> bool:
    own = folder.name in ("site-packages", "dist-packages")
    return not own and (folder == library.resolve() or folder.is_relative_to(library.resolve()))


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each != "__pycache__")
        yield from (path for name in names if (path := Path(where, name)).is_file())


def _write_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
