import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from messages import mentions
from testbed.errors import CommandFailedError, NotReadyInTimeError
from testbed.processes import ProcessRecord, ending_with, kill, run, wait_until


def record_of(pid: int) -> ProcessRecord:
    start = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return ProcessRecord(pid, start, Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def test_a_number_that_went_to_another_process_is_not_taken_for_the_recorded_one() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        now = record_of(other.pid)
        earlier = replace(now, start=now.start - 1)
        before_reboot = replace(now, boot="another boot")

        assert now.alive()
        assert not earlier.alive()
        assert not before_reboot.alive()
        kill(earlier)
        kill(before_reboot)
        assert other.poll() is None
        kill(now)
        assert other.wait(timeout=10) == -9
        assert not now.alive()


def test_a_record_that_was_never_finished_is_not_a_record(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    assert ProcessRecord.read(path) is None
    path.write_text('{"pid": 1')
    assert ProcessRecord.read(path) is None
    path.write_text(json.dumps({"pid": 1, "start": 2, "boot": "b"}))
    assert ProcessRecord.read(path) == ProcessRecord(1, 2, "b")


def test_a_program_that_fails_says_what_it_said() -> None:
    with pytest.raises(CommandFailedError, match=mentions(3, "it broke")) as failure:
        run(["sh", "-c", "echo it broke >&2; exit 3"])
    assert failure.value.output == "it broke\n"
    with pytest.raises(CommandFailedError, match="no program no-such-program"):
        run(["no-such-program"])


def test_a_deadline_that_passes_shows_the_state() -> None:
    with pytest.raises(NotReadyInTimeError, match=mentions("0.05 s", "two of three are up")):
        wait_until(lambda: False, 0.05, lambda: "two of three are up", every_seconds=0.01)


def test_a_child_whose_parent_has_ended_runs_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"
    run([*ending_with(os.getpid()), "touch", str(made)])
    assert made.exists()
    made.unlink()
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(CommandFailedError):
        run([*ending_with(ended.pid), "touch", str(made)])
    assert not made.exists()
