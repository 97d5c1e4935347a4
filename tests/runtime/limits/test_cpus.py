"""The number of CPUs that a process can use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.inference.cpus import granted, quota, threads

HOST = float(len(os.sched_getaffinity(0)))


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/pod/box\n", {"pod/box/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/pod/box\n", {"pod/box/cpu.max": "max 100000\n", "pod/cpu.max": "25000 100000\n"}, 0.25),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 0.1),
        ("0::/seen/only/by/the/host\n", {"cpu.max": "20000 100000\n"}, 0.2),
        (
            "3:cpu,cpuacct:/box\n",
            {"cpu,cpuacct/box/cpu.cfs_quota_us": "500", "cpu,cpuacct/box/cpu.cfs_period_us": "5000"},
            0.1,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, HOST),
        ("3:memory:/box\n", {"memory/box/cpu.cfs_quota_us": "500"}, HOST),
        ("0::/box\n", {"box/cpu.max": "nonsense\n"}, HOST),
        ("", {}, HOST),
    ],
)
def test_the_least_quota_on_the_way_up_counts(
    tmp_path: Path, membership: str, files: dict[str, str], expected: float
) -> None:
    root, memberships = tmp_path / "cgroup", tmp_path / "self"
    root.mkdir()
    memberships.write_text(membership)
    _write(root, files)
    assert granted(root, memberships) == pytest.approx(expected)
    assert quota(root, memberships) == (pytest.approx(expected) if expected < HOST else None)


def test_without_cgroups_it_is_what_the_host_has(tmp_path: Path) -> None:
    assert granted(tmp_path, tmp_path / "none") == HOST
    assert quota(tmp_path, tmp_path / "none") is None


def test_a_quota_above_the_host_grants_what_the_host_has(tmp_path: Path) -> None:
    _write(tmp_path, {"cpu.max": "99900000 100000\n", "self": "0::/\n"})
    assert quota(tmp_path, tmp_path / "self") == HOST


def test_threads_never_overdraw_the_quota_and_are_at_least_one() -> None:
    assert [threads(cpus) for cpus in (0.1, 1.0, 1.9, 2.0, 16.0)] == [1, 1, 1, 2, 16]
