"""The testbed's control groups (v1 and v2): one per node, for the speed of its device class."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from testbed.processes import wait_until
from testbed.topology import checked_speed

PERIOD_US = 5_000
LEAST_QUOTA_US = 1_000
V2_CONTROLLERS = "+cpu +cpuset +io +memory +pids"


def cpu_quota(speed: float) -> tuple[int, int]:
    """Returns (quota, period) in microseconds for a speed in cores.

    The kernel rejects a quota below 1 ms, so a slower node gets a longer period.
    """
    quota = round(checked_speed(speed) * PERIOD_US)
    if quota >= LEAST_QUOTA_US:
        return quota, PERIOD_US
    return LEAST_QUOTA_US, round(LEAST_QUOTA_US / speed)


def hierarchies(mounts: str) -> list[tuple[Path, str]]:
    """Returns (mount point, kind) of each hierarchy in the text of /proc/self/mounts."""
    found = [(Path(fields[1]), fields[2]) for line in mounts.splitlines() if len(fields := line.split()) > 2]
    return [(path, kind) for path, kind in found if kind in ("cgroup", "cgroup2")]


@dataclass(frozen=True)
class ControlGroups:
    """The groups below `/<name>` in every hierarchy."""

    name: str
    mounted: tuple[tuple[Path, str], ...]

    @classmethod
    def of_machine(cls, name: str) -> ControlGroups:
        return cls(name, tuple(hierarchies(Path("/proc/self/mounts").read_text())))

    @property
    def roots(self) -> list[Path]:
        return [path / self.name for path, _ in self.mounted]

    def path(self, node: str) -> str:
        """Returns the kubelet's name of the node's group."""
        return f"/{self.name}/{node}"

    def create(self, node: str) -> None:
        for mount, kind in self.mounted:
            if kind == "cgroup2":
                # If v1 holds the controllers, v2 has none and this has no effect.
                for parent in (mount, mount / self.name):
                    parent.mkdir(exist_ok=True)
                    with contextlib.suppress(OSError):
                        (parent / "cgroup.subtree_control").write_text(V2_CONTROLLERS)
            for group in (mount / self.name, mount / self.name / node):
                group.mkdir(exist_ok=True)
                for file in ("cpuset.cpus", "cpuset.mems"):
                    if kind == "cgroup" and (group / file).exists():
                        (group / file).write_text((group.parent / file).read_text())

    def set_speed(self, node: str, speed: float | None) -> None:
        """Limits all pods of the node together; None removes the limit."""
        quota, period = (-1, PERIOD_US) if speed is None else cpu_quota(speed)
        for mount, _ in self.mounted:
            group = mount / self.name / node
            if (group / "cpu.max").exists():
                (group / "cpu.max").write_text(f"{'max' if quota < 0 else quota} {period}")
            elif (group / "cpu.cfs_quota_us").exists():
                # Remove the quota first: the new period with the old quota can exceed the available CPU time.
                (group / "cpu.cfs_quota_us").write_text("-1")
                (group / "cpu.cfs_period_us").write_text(str(period))
                (group / "cpu.cfs_quota_us").write_text(str(quota))

    def set_processors(self, node: str, processors: Collection[int] | None) -> None:
        """Runs all pods of the node on these processors of the machine; None allows all."""
        wanted = ",".join(map(str, sorted(processors or ())))
        for mount, kind in self.mounted:
            group = mount / self.name / node
            if not (group / "cpuset.cpus").exists():
                continue
            if kind == "cgroup2":
                (group / "cpuset.cpus").write_text(wanted or "\n")
                continue
            # v1 refuses processors that the parent lacks, and to take away those that a child has.
            files = sorted(group.rglob("cpuset.cpus"), key=lambda file: len(file.parts))
            for file in files:
                file.write_text((group.parent / "cpuset.cpus").read_text())
            for file in reversed(files) if wanted else ():
                file.write_text(wanted)

    def remove(self, node: str | None = None, deadline_seconds: float = 10) -> None:
        """Removes a node's groups, or all of them, after their processes have ended."""
        roots = [root / node if node else root for root in self.roots]

        def gone() -> bool:
            for root in roots:
                if not root.exists():
                    continue
                for group in sorted((p for p in [root, *root.rglob("*")] if p.is_dir()), reverse=True):
                    with contextlib.suppress(OSError):
                        group.rmdir()
            return not any(root.exists() for root in roots)

        wait_until(
            gone,
            deadline_seconds,
            lambda: f"control groups are still in use: {[str(r) for r in roots if r.exists()]}",
        )
