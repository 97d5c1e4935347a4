"""A lock with which one command at a time changes a testbed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from testbed.errors import BusyError, MachineUnfitError

WAIT_SECONDS = 30.0


@contextlib.contextmanager
def holding(path: Path, wait_seconds: float = WAIT_SECONDS) -> Iterator[int]:
    """Holds the lock and yields its file descriptor. Processes that inherit it hold the lock as well."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError:
        raise MachineUnfitError(
            f"{path}: belongs to another user, who started this testbed: run the command as root"
        ) from None
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
                    raise BusyError(
                        f"another command (process {holder or 'unknown'}) is changing this testbed; "
                        f"wait for it or end it with Ctrl-C, then try again"
                    ) from None
                time.sleep(0.1)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield fd
    finally:
        os.close(fd)
