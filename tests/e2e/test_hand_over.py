"""The hand-over of a node port from the host to a pod, by the kernel's packet rules and without a cluster."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "support" / "handed_over.py"


def test_no_request_is_lost_from_the_disk_to_the_pod(tmp_path: Path) -> None:
    argv = ["unshare", "--net", "--mount", sys.executable, str(SCRIPT), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["lost"], found["ended"]) == ([], 0), done.stderr[-4000:]
    assert min(found["served"]) >= 40
