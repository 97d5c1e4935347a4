"""`down` removes everything, no matter how `testbed up` ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import NodeSpec, Testbed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CACHE = Path(__file__).resolve().parents[2] / ".cache"
UP = ["up", "--nodes", "edge:camera:0.2"]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Testbed]:
    bed = Testbed.of_checkout(tmp_path / "checkout", CACHE)
    bed.layout.root.mkdir()
    yield bed
    bed.down()
    bed.layout.lock.unlink()


def command_of(bed: Testbed, *args: str) -> list[str]:
    return [sys.executable, "-m", "testbed.cli", "--root", str(bed.layout.root), "--cache", str(CACHE), *args]


def left_over(bed: Testbed) -> list[str]:
    """Processes, mounts, control groups and files that name this testbed; its logs are to stay."""
    root, found = str(bed.layout.root), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
            mounts = (entry / "mountinfo").read_text()
        except OSError:
            continue
        if root in words and int(entry.name) != os.getpid():
            found.append(f"process {entry.name}: {words}")
        if root in mounts:
            found.append(f"mounts of process {entry.name}")
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{bed.layout.name}")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(bed.layout.name)]
    for path in bed.layout.root.rglob("*"):
        if path != bed.layout.state and not path.is_relative_to(bed.layout.logs):
            found.append(str(path))
    return found


def up_until(bed: Testbed, line: str) -> subprocess.Popen[str]:
    """A running `testbed up`, just after it printed a line with these words."""
    process = subprocess.Popen(command_of(bed, *UP), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = []
    for each in process.stderr:
        said.append(each)
        if line in each:
            return process
    raise AssertionError(f"testbed up never said {line!r}: {said}")


POINTS = ["network, certificates, machines", "API server", "nodes Ready"]


@pytest.mark.parametrize("point", POINTS)
def test_down_removes_what_a_killed_up_left(bed: Testbed, point: str) -> None:
    process = up_until(bed, point)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left_over(bed), "nothing was there to be left: the test shows nothing"

    subprocess.run(command_of(bed, "down"), check=True)

    assert left_over(bed) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing(bed: Testbed, number: signal.Signals) -> None:
    process = up_until(bed, "API server")
    process.send_signal(number)
    process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert left_over(bed) == []


def test_up_after_a_crash_works_and_two_run_at_once(bed: Testbed, tmp_path: Path) -> None:
    process = up_until(bed, "API server")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    other = Testbed.of_checkout(tmp_path / "other", CACHE)
    other.layout.root.mkdir()
    try:
        bed.up([NodeSpec("edge", "camera", 0.2)], print)
        other.up([NodeSpec("other", "gateway", 0.4)], print)

        assert {name: node["ready"] for name, node in bed.status()["nodes"].items()} == {
            "cloud": True,
            "edge": True,
        }
        assert set(other.status()["nodes"]) == {"cloud", "other"}
        bed.down()
        assert left_over(bed) == []
        assert other.status()["nodes"]["other"]["ready"] is True
    finally:
        other.down()
        other.layout.lock.unlink()
    assert left_over(other) == []
