"""Number of processors that this process can use: the CPU quota of its cgroup, not the cores of the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.inference.cgroups import MEMBERSHIPS, ROOT, folders


def granted(root: Path = ROOT, memberships: Path = MEMBERSHIPS) -> float:
    """The minimum of the affinity mask and the CPU quotas of this process's cgroup and its ancestors.

    Reads cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us`). Unreadable files count as no limit.
    """
    return min([float(len(os.sched_getaffinity(0))), *_quotas(root, memberships)])


def quota(root: Path = ROOT, memberships: Path = MEMBERSHIPS) -> float | None:
    """The granted processors if a cgroup sets a quota; None without one, when others may use the cores."""
    least = min(_quotas(root, memberships), default=None)
    return None if least is None else min(least, granted(root, memberships))


def threads(cpus: float) -> int:
    """Number of threads that use that many processors without exceeding a quota."""
    return max(1, int(cpus))


def _quotas(root: Path, memberships: Path) -> Iterator[float]:
    for at in folders("cpu", root, memberships):
        quota = _quota(at)
        if quota is not None:
            yield quota


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text()
        if quota in ("max", "-1"):
            return None
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
