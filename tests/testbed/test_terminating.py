"""A run of tests that receives SIGTERM removes what its fixtures have started."""

import signal
import subprocess
import sys
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "support"
PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from terminating import interrupted_by_sigterm
with interrupted_by_sigterm():
    try:
        print("started", flush=True)
        time.sleep(60)
    finally:
        print("removed", flush=True)
"""


def test_sigterm_runs_what_removes_the_cluster() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(SUPPORT)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert output == "removed\n"
    assert "KeyboardInterrupt" in errors
