"""Imports modules, each in a separate process that has imported none of the others.

`python importing.py MODULE…` prints, as JSON, the traceback of each module that could not be imported. The
processes are forked from one that has the modules' libraries loaded: equivalent to a fresh interpreter in a
fraction of the time.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any


def modules(source: Path) -> list[str]:
    """The names of all modules below a folder of packages, by their files."""
    files = (path.relative_to(source).with_suffix("") for path in source.rglob("*.py"))
    return sorted(".".join((file.parent if file.name == "__init__" else file).parts) for file in files)


def failures(names: Sequence[str]) -> dict[str, str]:
    """The traceback of each module that cannot be imported alone."""
    argv = [sys.executable, __file__, *names]
    found: dict[str, str] = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    return found


def _forked(work: Callable[[], object]) -> Any:
    """The result of the function in a separate process, by JSON."""
    with tempfile.TemporaryFile("w+") as answer:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                json.dump(work(), answer)
                answer.flush()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        answer.seek(0)
        return json.load(answer) if status == 0 else f"ended with {os.waitstatus_to_exitcode(status)}"


def _failure(name: str) -> str:
    try:
        importlib.import_module(name)
    except BaseException:
        return traceback.format_exc()
    return ""


def _libraries(names: Iterable[str], ours: set[str]) -> list[str]:
    """The modules of others that the modules import."""
    before = set(sys.modules)
    for name in names:
        _failure(name)
    return [name for name in sys.modules if name not in before and name.partition(".")[0] not in ours]


def main(names: Sequence[str]) -> None:
    ours = {name.partition(".")[0] for name in names}
    for library in _forked(partial(_libraries, names, ours)):
        with suppress(Exception):
            importlib.import_module(library)
    assert not ours.intersection(sys.modules)
    with tempfile.TemporaryDirectory() as folder:  # compiled once, not in each process
        sys.pycache_prefix, sys.dont_write_bytecode = folder, False
        print(json.dumps({name: said for name in names if (said := _forked(partial(_failure, name)))}))


if __name__ == "__main__":
    main(sys.argv[1:])
