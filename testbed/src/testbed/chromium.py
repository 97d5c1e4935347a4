"""Finds Chromium, in which tests open pages; installs Debian's package if that is possible."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from testbed.errors import BinaryUnavailableError
from testbed.prerequisites import debian, install
from testbed.progress import Progress, print_line

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PACKAGES: Final = ("chromium", "fonts-dejavu-core")
_INSTEAD: Final = "put chromium on PATH"


def chromium(progress: Progress = print_line) -> Path:
    """Returns the program. Raises BinaryUnavailableError, MachineUnfitError."""
    found = on_path()
    if found is not None:
        return found
    if not debian() or os.geteuid() != 0:
        raise BinaryUnavailableError(f"chromium: is not on PATH: install it, or {_INSTEAD}")
    install(list(PACKAGES), progress, _INSTEAD)
    found = on_path()
    if found is None:
        raise BinaryUnavailableError(f"chromium: is installed but not on PATH: {_INSTEAD}")
    return found


def on_path() -> Path | None:
    """Returns the program if it is on PATH."""
    return next((Path(path) for name in NAMES if (path := shutil.which(name))), None)
