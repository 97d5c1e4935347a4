"""How much memory sessions may take: a table that does not fit is refused, the process is not killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_runtime.errors import CannotLoad
from edge_runtime.inference.cgroups import MEMBERSHIPS, ROOT, folders

# While a slice is loaded its weights exist up to so many times: as a file, as a message, as tensors, and once
# more in another order. benchmarks.runtime.memories measures 2.9 times in dense layers, 4.1 in convolutions.
PEAK: Final = 4
_RESERVE: Final = 0.1  # of the limit, for what requests need
_PAGE: Final = 4096
_ANY: Final = 1 << 60  # version 1 writes a number of this size for "no limit"


def resident(statm: Path = Path("/proc/self/statm")) -> int:
    """Bytes of this process in memory."""
    return _PAGE * int(statm.read_text().split()[1])


def available(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Bytes that the machine can give without swapping; without end where it does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return float(int(meminfo.read_text().split("MemAvailable:")[1].split()[0]) << 10)
    return float("inf")


class Memory:
    """The limit, and what of it is used. Without one everything fits."""

    def __init__(self, limit: float | None = None, used: Callable[[], int] = resident) -> None:
        self.limit, self._used = limit, used

    def room(self) -> float:
        """Bytes that may be taken beside what is: of the limit, else of what the machine has free."""
        if self.limit is None:
            return available() * (1 - _RESERVE)
        return max(self.limit * (1 - _RESERVE) - self._used(), 0.0)

    def check(self, what: str, size: int) -> None:
        """CannotLoad when so many bytes of weights cannot be loaded beside what is loaded."""
        if self.limit is None:
            return
        used, room = self._used(), self.limit * (1 - _RESERVE)
        if used + PEAK * size > room:
            raise CannotLoad(
                f"{what} has {_mib(size)} and takes {PEAK} times that while it is loaded: {_mib(used)} of "
                f"{_mib(room)} are in use, so there is not enough memory; raise the limit or plan less here"
            )


UNLIMITED: Final = Memory()


def cgroup_limit(root: Path = ROOT, memberships: Path = MEMBERSHIPS) -> int | None:
    """The least limit of this process's cgroup and those above it, in bytes; None without one."""
    found = [limit for at in folders("memory", root, memberships) if (limit := _limit(at)) is not None]
    return min(found, default=None)


def _limit(folder: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            limit = int((folder / name).read_text())
        except (OSError, ValueError):
            continue
        return limit if limit < _ANY else None
    return None


def _mib(count: float) -> str:
    return f"{count / (1 << 20):.0f} MiB"
