"""The fast solver needs numpy alone."""

import subprocess
import sys
from pathlib import Path

ALONE = Path(__file__).parents[2] / "support" / "sharing_alone.py"


def test_sharing_and_its_fast_solver_work_without_highspy_and_scipy() -> None:
    found = subprocess.run([sys.executable, ALONE], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["3", "plan_pool"]
