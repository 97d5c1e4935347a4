from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.cgroups import LEAST_QUOTA_US, ControlGroups, cpu_quota, hierarchies


@given(st.floats(min_value=0.01, max_value=64))
def test_a_quota_is_the_speed_and_never_below_what_the_kernel_grants(speed: float) -> None:
    quota, period = cpu_quota(speed)

    assert quota >= LEAST_QUOTA_US
    assert period >= 5_000
    assert quota / period == pytest.approx(speed, rel=0.01)


def test_a_slow_node_gets_a_longer_period_instead_of_a_smaller_quota() -> None:
    assert cpu_quota(0.4) == (2_000, 5_000)
    assert cpu_quota(0.2) == (1_000, 5_000)
    assert cpu_quota(0.1) == (1_000, 10_000)


def test_hierarchies_of_both_versions_are_found() -> None:
    mounts = (
        "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
        "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    )

    assert hierarchies(mounts) == [
        (Path("/sys/fs/cgroup/cpu,cpuacct"), "cgroup"),
        (Path("/sys/fs/cgroup/unified"), "cgroup2"),
    ]


def test_on_a_machine_of_version_2_the_quota_goes_into_one_file(tmp_path: Path) -> None:
    groups = ControlGroups("testbed-x", ((tmp_path, "cgroup2"),))
    groups.create("edge-a")
    quota = tmp_path / "testbed-x" / "edge-a" / "cpu.max"
    quota.touch()  # the kernel creates it if the controller is enabled

    groups.set_speed("edge-a", 0.2)
    assert quota.read_text() == "1000 5000"
    groups.set_speed("edge-a", None)
    assert quota.read_text() == "max 5000"


def test_the_processors_of_a_node_are_a_list_on_a_machine_of_version_2(tmp_path: Path) -> None:
    groups = ControlGroups("testbed-x", ((tmp_path, "cgroup2"),))
    groups.create("edge-a")
    processors = tmp_path / "testbed-x" / "edge-a" / "cpuset.cpus"
    processors.touch()  # the kernel creates it if the controller is enabled

    groups.set_processors("edge-a", {1, 0})
    assert processors.read_text() == "0,1"
    groups.set_processors("edge-a", None)
    assert processors.read_text().strip() == ""


def test_on_a_machine_of_version_1_the_pods_of_a_node_get_its_processors_too(tmp_path: Path) -> None:
    groups = ControlGroups("testbed-x", ((tmp_path, "cgroup"),))
    pod = tmp_path / "testbed-x" / "edge-a" / "kubepods" / "pod1"
    pod.mkdir(parents=True)
    files = [folder / "cpuset.cpus" for folder in (pod, *pod.parents[:3])]
    for file in files:
        file.write_text("0-1\n")

    groups.set_processors("edge-a", [1])
    assert [file.read_text() for file in files] == ["1", "1", "1", "0-1\n"]
    groups.set_processors("edge-a", None)
    assert {file.read_text() for file in files} == {"0-1\n"}


def test_groups_are_removed_from_the_leaves_up(tmp_path: Path) -> None:
    groups = ControlGroups("testbed-x", ((tmp_path, "cgroup2"),))
    (tmp_path / "testbed-x" / "edge-a" / "kubepods" / "pod1").mkdir(parents=True)
    (tmp_path / "of-another").mkdir()

    groups.remove()

    assert [path.name for path in tmp_path.iterdir()] == ["of-another"]
