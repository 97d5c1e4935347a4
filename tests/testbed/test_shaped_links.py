"""The benchmarks on shaped links come to an end, and leave nothing behind, interrupted or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def _start(folder: Path, name: str, *arguments: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", f"benchmarks.runtime.{name}", *arguments]
    env = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(
        argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _left(folder: Path) -> list[str]:
    """The commands of processes that have to do with the benchmark's folder."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


def _wait_for_control(running: subprocess.Popen[str]) -> None:
    """Until all of its parts run."""
    assert running.stderr is not None
    assert any(line.startswith("control") for line in running.stderr)


def test_every_request_over_each_rate_is_answered_over_the_link(tmp_path: Path) -> None:
    with _start(tmp_path, "end_to_end", "--quick") as running:
        out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    rates = json.loads(out.splitlines()[-1])["end_to_end"]["rates"]
    assert list(rates) == ["1M", "2M", "5M", "10M", "50M"]
    transfers = [row["transfer_ms"] for row in rates.values()]
    assert transfers == sorted(transfers, reverse=True)
    assert all(row["requests"] == 6 and row["p50"] > 0.98 for row in rates.values()), rates
    assert rates["1M"]["p50"] < 1.25  # of 0.4 s on the link
    assert _left(tmp_path) == []


def test_an_interrupted_run_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with _start(tmp_path, "deadlines", "--quick", "--only", "hung") as running:
        _wait_for_control(running)
        assert _left(tmp_path) != []
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "nothing is left behind" in err
    assert _left(tmp_path) == []
    assert list(Path("/dev/shm").glob(f"bench-triton-{running.pid}*")) == []


def test_a_killed_run_takes_its_processes_with_it(tmp_path: Path) -> None:
    with _start(tmp_path, "deadlines", "--quick", "--only", "hung") as running:
        _wait_for_control(running)
        os.kill(running.pid, signal.SIGKILL)
    for _ in range(100):
        if not _left(tmp_path):
            return
        signal.sigtimedwait([], 0.1)
    raise AssertionError(_left(tmp_path))
