"""Memory limit for sessions: a table that does not fit is refused before the process is killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_runtime.errors import CannotLoad
from edge_runtime.inference.cgroups import MEMBERSHIPS, ROOT, folders
from edge_runtime.inference.mapped_weights import LARGE

# Memory for loading a slice, as a multiple of its size. In memory, these are the file, the parsed message,
# the weights, and weights in another layout. From the disk, weights are mapped, and those of convolutions
# exist in two layouts for a moment; without packing, only their pages count. benchmarks.runtime.memories
# measures 2.9 in dense layers and 4.1 in convolutions, from the disk 1.1 and 2.1, and 1.1 without packing.
IN_MEMORY: Final = 4
FROM_DISK: Final = 2
UNPACKED: Final = 1.1
_RESERVE: Final = 0.1  # share of the limit that requests need
_PAGE: Final = 4096
_ANY: Final = 1 << 60  # cgroup v1 writes a number of this size for "no limit"


def resident(statm: Path = Path("/proc/self/statm")) -> int:
    """Resident memory of this process in bytes."""
    return _PAGE * int(statm.read_text().split()[1])


def peak(status: Path = Path("/proc/self/status")) -> int:
    """The most resident memory of this process in bytes, mapped pages included, since `reset_peak`."""
    return int(status.read_text().split("VmHWM:")[1].split()[0]) << 10


def reset_peak(refs: Path = Path("/proc/self/clear_refs")) -> int:
    """Begins another peak; returns the resident memory in bytes with which it begins."""
    refs.write_text("5")
    return peak()


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

    def packs(self, size: int) -> bool:
        """Whether memory suffices to pack the weights of a large slice of this many bytes."""
        if self.limit is None:
            return FROM_DISK * size <= available() * (1 - _RESERVE)
        return self._used() + FROM_DISK * size <= self.limit * (1 - _RESERVE)

    def check(self, what: str, size: int, *, on_disk: bool = False) -> bool:
        """Whether to pack the weights of a slice of this many bytes; raises CannotLoad if it does not fit.

        Unpacked weights of a large slice `on_disk` need half the memory, and inferences take longer.
        """
        factors = ways(size, on_disk=on_disk)
        if self.limit is None:
            return len(factors) == 1 or factors[0] * size <= available() * (1 - _RESERVE)
        used, room = self._used(), self.limit * (1 - _RESERVE)
        if used + factors[0] * size > room:
            self._reclaim()
            used = self._used()
        if used + factors[0] * size <= room:
            return True
        if used + factors[-1] * size <= room:
            return False
        raise CannotLoad(
            f"{what}: not enough memory to load {_mib(size)}, which needs {factors[-1]:g} times as much, "
            f"with {_mib(used)} of {_mib(room)} in use: raise the memory limit or run less at this node"
        )


def ways(size: int, *, on_disk: bool) -> tuple[float, ...]:
    """Multiples of the size that loading a slice needs: with its weights packed, and without if possible."""
    return (FROM_DISK, UNPACKED) if on_disk and size >= LARGE else (IN_MEMORY,)


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
