"""The memory and processor time of a pod, read on this machine: a testbed's nodes are processes on it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_GROUPS: Final = Path("/sys/fs/cgroup")
# The processor time of a control group, in nanoseconds (version 1) or among other counters (version 2).
_USAGE, _STAT = "cpuacct.usage", "cpu.stat"
# Writing it to clear_refs resets the peak of the resident memory, VmHWM.
_RESET_PEAK: Final = "5"


def processes_of(uids: Collection[str], procfs: Path = _PROC) -> list[Path]:
    """Returns the folders of the processes in the control groups of the pods with these UIDs."""
    marks = [f"pod{uid}" for uid in uids]
    return [folder for folder, groups in _groups(procfs) if any(mark in groups for mark in marks)]


def cpu_meter(uid: str, procfs: Path = _PROC, mounted: Path = _GROUPS) -> Path | None:
    """Returns the file that counts the processor time of a pod's control group; None if the pod has none.

    mounted: folder of the hierarchies of version 1, or the one of version 2.
    """
    mark = f"pod{uid}"
    for _, groups in _groups(procfs):
        for line in groups.splitlines():
            _, controllers, path = line.split(":", 2)
            if mark not in path:
                continue
            within = path[1 : path.index(mark)] + mark
            for file in (mounted / controllers / within / _USAGE, mounted / within / _STAT):
                if file.exists():
                    return file
    return None


def cpu_seconds(meter: Path) -> float:
    """Returns the processor time that a control group has used."""
    text = meter.read_text()
    if meter.name == _USAGE:
        return int(text) / 1e9
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("usage_usec ")) / 1e6


def pss_bytes(processes: Collection[Path]) -> int:
    """Returns the proportional set size of processes; pages that processes share count once in total."""
    return sum(_field(folder / "smaps_rollup", "Pss:") for folder in processes)


def reset_peak(process: Path) -> None:
    """Starts a new peak of the process's resident memory."""
    (process / "clear_refs").write_text(_RESET_PEAK)


def resident_bytes(process: Path) -> int:
    """Returns the resident memory of a process."""
    return _field(process / "status", "VmRSS:")


def peak_bytes(process: Path) -> int:
    """Returns the largest resident memory of a process since `reset_peak`."""
    return _field(process / "status", "VmHWM:")


def _groups(procfs: Path) -> Iterator[tuple[Path, str]]:
    for folder in procfs.iterdir():
        if folder.name.isdigit():
            try:
                yield folder, (folder / "cgroup").read_text()
            except OSError:
                continue  # the process has ended


def _field(path: Path, name: str) -> int:
    try:
        text = path.read_text()
    except OSError:
        return 0  # the process has ended
    # smaps_rollup also has fields such as Pss_Anon: and a line of the address range.
    return sum(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith(name))
