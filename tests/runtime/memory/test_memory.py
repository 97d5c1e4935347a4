"""The available memory, and whether a slice fits into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import CannotLoad
from edge_runtime.inference.memory import Memory, cgroup_limit
from messages import mentions

MIB = 1 << 20


def test_a_slice_needs_four_times_its_size_while_it_is_loaded() -> None:
    memory = Memory(1000 * MIB, lambda: 500 * MIB)
    memory.check("slice a", 100 * MIB)
    with pytest.raises(CannotLoad, match=mentions("slice a:", "101 MiB", 4, "500 MiB", "900 MiB")):
        memory.check("slice a", 101 * MIB)


def test_a_large_slice_on_the_disk_needs_twice_its_size_or_once_without_packing() -> None:
    memory = Memory(1000 * MIB, lambda: 500 * MIB)
    assert memory.check("slice a", 200 * MIB, on_disk=True)
    assert not memory.check("slice a", 201 * MIB, on_disk=True), "it fits, but not with packed weights"
    assert not memory.check("slice a", 363 * MIB, on_disk=True)
    with pytest.raises(CannotLoad, match=mentions("slice a:", "364 MiB", "1.1", "500 MiB", "900 MiB")):
        memory.check("slice a", 364 * MIB, on_disk=True)


def test_a_small_slice_is_read_into_memory_whether_it_is_on_the_disk_or_not() -> None:
    memory = Memory(100 * MIB, lambda: 80 * MIB)
    assert memory.check("slice a", 2 * MIB, on_disk=True)
    with pytest.raises(CannotLoad, match=mentions("slice a:", "3 MiB", 4)):
        memory.check("slice a", 3 * MIB, on_disk=True)


def test_memory_that_is_in_use_for_nothing_is_returned_before_a_slice_is_refused() -> None:
    used = [500 * MIB]

    def reclaim() -> None:
        used.append(300 * MIB)

    memory = Memory(1000 * MIB, lambda: used[-1], reclaim)
    memory.check("slice a", 100 * MIB)
    assert used == [500 * MIB]  # there is room without it
    memory.check("slice a", 150 * MIB)
    with pytest.raises(CannotLoad, match=mentions("slice a:", "151 MiB", "300 MiB", "900 MiB")):
        memory.check("slice a", 151 * MIB)


def test_the_room_for_a_trial_counts_memory_that_can_be_returned() -> None:
    used = [500 * MIB]
    assert Memory(1000 * MIB, lambda: used[-1], lambda: used.append(300 * MIB)).room() == 600 * MIB


def test_without_a_limit_everything_fits() -> None:
    assert Memory().check("slice a", 1 << 50)
    assert not Memory().check("slice a", 1 << 50, on_disk=True), "without packed weights"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/pod/box\n", {"pod/box/memory.max": "536870912\n"}, 512 * MIB),
        ("0::/pod/box\n", {"pod/box/memory.max": "max\n", "pod/memory.max": "1048576\n"}, MIB),
        ("0::/pod/box\n", {"pod/box/memory.max": "2097152\n", "pod/memory.max": "1048576\n"}, MIB),
        ("4:memory:/box\n", {"memory/box/memory.limit_in_bytes": "1048576\n"}, MIB),
        ("4:memory:/box\n", {"memory/box/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("4:cpu:/box\n", {"cpu/box/memory.limit_in_bytes": "1048576\n"}, None),
        ("", {}, None),
    ],
)
def test_the_least_limit_on_the_way_up_counts(
    tmp_path: Path, membership: str, files: dict[str, str], expected: int | None
) -> None:
    root, memberships = tmp_path / "cgroup", tmp_path / "self"
    memberships.write_text(membership)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert cgroup_limit(root, memberships) == expected
