"""Checks prose with Vale by the rules in `.vale/styles/Edge`: `python -m testbed.prose [PATH...]`.

Without a path it checks PAGES. Vale is taken from PATH if it has the pinned version, else it is built.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from testbed.binaries import VALE, Binaries, says_version
from testbed.errors import BinaryUnavailableError, CommandFailedError, TestbedError
from testbed.layout import Layout
from testbed.prerequisites import debian, install, missing_packages
from testbed.processes import run
from testbed.progress import print_line

ROOT: Final = Path(__file__).resolve().parents[3]
# What `make lint` enforces the rules on: files, or folders with all pages and modules below them.
PAGES: Final = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "STYLE.md",
    "docs",
    "api/src",
    "monitoring/src",
    "operator/src",
    "planning/src",
    "runtime/src",
    "cli/src",
    "console/src",
    "testbed/src",
    "benchmarks",
    "charts",
    "examples",
    # Not tests/testbed: it tests the rules on sentences that break them.
    "tests/api",
    "tests/charts",
    "tests/cli",
    "tests/console",
    "tests/contract",
    "tests/demo",
    "tests/e2e",
    "tests/k3s",
    "tests/monitoring",
    "tests/operator",
    "tests/planning",
    "tests/repository",
    "tests/runtime",
    "tests/support",
)
# Program or file -> Debian package. Vale parses source code with grammars that are written in C.
COMPILER: Final = {"cc": "gcc", "/usr/include/stdlib.h": "libc6-dev"}
_INSTEAD: Final = f"put vale {VALE.version} on PATH"


def refusal(user: int, *, may_apt: bool, has_go: bool, missing: Sequence[str]) -> str | None:
    """Why Vale cannot be built on this machine, as a message with the fix; None if it can."""
    if not has_go:
        return f"vale {VALE.version}: needs `go` (1.24 or newer) to be built: put it on PATH, or {_INSTEAD}"
    if missing and not (may_apt and user == 0):
        return f"vale {VALE.version}: needs {', '.join(missing)} to be built: install them, or {_INSTEAD}"
    return None


def _on_path() -> Path | None:
    found = shutil.which(VALE.name)
    if found is None:
        return None
    try:
        output = run([found, *VALE.version_command], timeout_seconds=20)
    except CommandFailedError:
        return None
    return Path(found) if says_version(output, VALE.version) else None


def vale() -> Path:
    """Finds or builds Vale. Raises TestbedError."""
    binaries = Binaries(Layout.of_checkout(ROOT).binaries, print_line)
    found = binaries.find(VALE) or _on_path()
    if found:
        return found
    missing = missing_packages(packages=COMPILER)
    message = refusal(os.geteuid(), may_apt=debian(), has_go=shutil.which("go") is not None, missing=missing)
    if message:
        raise BinaryUnavailableError(message)
    if missing:
        install(missing, print_line, _INSTEAD)
    return binaries.one(VALE)


def main(paths: Sequence[str]) -> int:
    """Returns Vale's exit status: 1 if it found an error."""
    try:
        program = vale()
    except TestbedError as error:
        print(error, file=sys.stderr)
        return 1
    # VALE_CONFIG_PATH and the settings of a home directory must not change the result.
    command = [
        str(program),
        "--no-global",
        "--config=.vale.ini",
        "--output=line",
        "--glob=*.{md,py,yaml}",
        *(paths or PAGES),
    ]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
