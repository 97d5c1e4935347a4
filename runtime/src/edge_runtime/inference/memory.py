"""Memory limit for sessions: a table that does not fit is refused before the process is killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_runtime.errors import CannotLoad
from edge_runtime.inference.cgroups import MEMBERSHIPS, ROOT, folders

# Memory for loading a slice, as a multiple of its weights: the file, the parsed message, the tensors, and
# tensors in another layout. benchmarks.runtime.memories measures 2.9 in dense layers, 4.1 in convolutions.
PEAK: Final = 4
_RESERVE: Final = 0.1  # share of the limit that requests need
_PAGE: Final = 4096
_ANY: Final = 1 << 60  # cgroup v1 writes a number of this size for "no limit"


def resident(statm: Path = Path("/proc/self/statm")) -> int:
    """Resident memory of this process in bytes."""
    return _PAGE * int(statm.read_text().split()[1])


def available(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Bytes that the machine can provide without swapping; infinite if unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return float(int(meminfo.read_text().split("MemAvailable:")[1].split()[0]) << 10)
    return float("inf")


class Memory:
    """The memory limit and its current use. Without a limit, the free memory of the machine counts.

    reclaim: returns memory of this process that is in use for nothing.
    """

    def __init__(
        self,
        limit: float | None = None,
        used: Callable[[], int] = resident,
        reclaim: Callable[[], None] = lambda: None,
    ) -> None:
        self.limit, self._used, self._reclaim = limit, used, reclaim

    def room(self) -> float:
        """Bytes that are still available: under the limit, else of the machine's free memory."""
        self._reclaim()
        if self.limit is None:
            return available() * (1 - _RESERVE)
        return max(self.limit * (1 - _RESERVE) - self._used(), 0.0)

    def check(self, what: str, size: int) -> None:
        """Raises CannotLoad if there is not enough memory to load this many bytes of weights."""
        if self.limit is None:
            return
        used, room = self._used(), self.limit * (1 - _RESERVE)
        if used + PEAK * size > room:
            self._reclaim()
            used = self._used()
        if used + PEAK * size > room:
            raise CannotLoad(
                f"{what}: not enough memory to load {_mib(size)}, which needs {PEAK} times as much, with "
                f"{_mib(used)} of {_mib(room)} in use: raise the memory limit or run less at this node"
            )


UNLIMITED: Final = Memory()


def cgroup_limit(root: Path = ROOT, memberships: Path = MEMBERSHIPS) -> int | None:
    """The smallest limit of this process's cgroup and its ancestors, in bytes; None without one."""
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
