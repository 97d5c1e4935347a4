"""The pure parts of `make bench-pool`."""

from pathlib import Path

import pytest

from benchmarks.pool.processes import (
    cpu_meter,
    cpu_seconds,
    peak_bytes,
    processes_of,
    pss_bytes,
    resident_bytes,
)
from benchmarks.pool.services import HOSTNAME, edge_pool, pool, service
from benchmarks.pool.steps import Lags, Seen, lags_of
from edge_api.devicepools import DevicePoolSpec
from edge_api.inferenceservices import InferenceServiceSpec

ROLLUP = "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:  9 kB\nPss:   {pss} kB\nPss_Anon:  5 kB\n"


@pytest.fixture
def procfs(tmp_path: Path) -> Path:
    """Processes 1 and 2 of a pod by the two versions of control groups, and 3 of another."""
    for pid, group, pss in (
        (1, "12:memory:/x/podu-1/c", 300),
        (2, "0::/x/podu-1/d", 200),
        (3, "0::/x/podu-2/e", 9),
    ):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "cgroup").write_text(f"{group}\n")
        (folder / "smaps_rollup").write_text(ROLLUP.format(pss=pss))
        (folder / "status").write_text("Name:\tpython\nVmHWM:\t    70 kB\nVmRSS:\t    60 kB\n")
    (tmp_path / "meminfo").write_text("")
    return tmp_path


def test_a_pods_processes_are_found_by_its_uid(procfs: Path) -> None:
    assert sorted(each.name for each in processes_of(["u-1"], procfs)) == ["1", "2"]


def test_the_memory_of_processes_is_their_proportional_share(procfs: Path) -> None:
    assert pss_bytes(processes_of(["u-1"], procfs)) == 500 * 1024


def test_a_process_that_has_ended_has_no_memory(procfs: Path) -> None:
    assert resident_bytes(procfs / "1") == 60 * 1024
    assert peak_bytes(procfs / "1") == 70 * 1024
    assert peak_bytes(procfs / "4") == 0


@pytest.mark.parametrize(
    ("group", "file", "text"),
    [
        ("4:cpu,cpuacct:/x/podu-1/c", "cpu,cpuacct/x/podu-1/cpuacct.usage", "2500000000\n"),
        ("0::/x/podu-1/c", "x/podu-1/cpu.stat", "nr_periods 0\nusage_usec 2500000\nuser_usec 1\n"),
    ],
    ids=["version 1", "version 2"],
)
def test_the_processor_time_of_a_pod_is_its_control_groups(
    tmp_path: Path, group: str, file: str, text: str
) -> None:
    process, meter = tmp_path / "proc" / "1", tmp_path / "groups" / file
    for folder in (process, meter.parent):
        folder.mkdir(parents=True)
    (process / "cgroup").write_text(f"3:memory:/x/podu-1/c\n{group}\n")
    meter.write_text(text)

    found = cpu_meter("u-1", tmp_path / "proc", tmp_path / "groups")

    assert found == meter
    assert cpu_seconds(found) == 2.5
    assert cpu_meter("u-2", tmp_path / "proc", tmp_path / "groups") is None


def test_the_benchmarks_manifests_are_valid() -> None:
    entries = {HOSTNAME: "edge-a"}
    asked = service("a", pool="bench", file="a.onnx", mode="CloudOnly", entries=entries)

    for each in (edge_pool(), pool("simulated", [("camera", {"simulated": "true"})])):
        DevicePoolSpec.model_validate(each["spec"])
    spec = InferenceServiceSpec.model_validate(asked["spec"])
    assert spec.entry_nodes is not None
    assert spec.entry_nodes.node_selector == entries


def placement(at: float, generation: int, observed: int, *, route: str, bandwidth: float) -> Seen:
    return Seen(at, "step-0.edge-a", generation, observed, True, route, bandwidth)


def test_a_step_lasts_until_the_entry_node_uses_the_last_new_table() -> None:
    seen = [
        placement(1.0, 1, 1, route="away", bandwidth=9e6),
        placement(5.25, 1, 1, route="local", bandwidth=1e6),
        placement(5.75, 2, 1, route="local", bandwidth=1e6),
        placement(6.5, 2, 2, route="early", bandwidth=1e6),
    ]
    assert lags_of(seen, 5.0) == Lags(0.25, 0.25, 1.5)


def test_a_step_that_changes_nothing_has_no_times() -> None:
    before = placement(1.0, 2, 2, route="away", bandwidth=9e6)
    assert lags_of([before, placement(7.0, 2, 2, route="away", bandwidth=9e6)], 5.0) == Lags(None, None, None)
