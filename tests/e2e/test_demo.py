"""The demo itself, with shorter phases: what it must show holds, and its report says so."""

import json
import subprocess
import sys
from pathlib import Path

from trials import Trial

MODES = ("Auto", "CloudOnly", "LocalOnly", "RightSizingOnly")


def test_the_joint_choice_beats_the_fixed_modes_and_loses_no_request(trial: Trial, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "demo", "--keep", "--phase-seconds", "6", "--report-dir", str(tmp_path)]
    done = subprocess.run(argv, cwd=trial.root, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    report = json.loads((tmp_path / "report.json").read_text())
    modes = report["modes"]
    assert tuple(modes) == MODES
    assert (tmp_path / "report.html").stat().st_size > 100_000

    auto = modes["Auto"]
    assert auto["failed"] == 0
    assert [phase["failed"] for phase in auto["phases"]] == [0] * 6
    assert [phase["link_bps"] for phase in auto["phases"]] == [20e6, 4e6, 1e6, 0.25e6, 0, 20e6]
    assert len({(phase["exit"], phase["cut"]) for phase in auto["phases"]}) >= 3
    assert report["switches"] >= 3

    scores = {name: mode["slo_attainment"] * mode["accuracy"] for name, mode in modes.items()}
    assert max(scores, key=lambda name: scores[name]) == "Auto", scores
    assert modes["RightSizingOnly"]["accuracy"] < auto["accuracy"]
    objective = 0.95
    for name in ("CloudOnly", "LocalOnly"):
        assert min(phase["slo_attainment"] for phase in modes[name]["phases"]) < objective
