"""The demo with shorter phases: its results hold, and its report shows them."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from demo import installation
from demo.phases import LINK_RATES_BPS, MODES
from demo.services import Document, ready
from demo.sharing.tenants import NOISY, QUIET
from edge_api.quantities import parse_quantity
from trials import Trial


def certain(table: Sequence[Document], rate: float) -> set[tuple[str, str]]:
    """The exit and cut in a route table for a link of this rate (bit/s); none if an error of the estimate by
    half would select others.
    """
    found = [
        next((r["exit"], r["cut"]) for r in table if float(parse_quantity(r["minBandwidth"])) <= share * rate)
        for share in (0.5, 1.5)
    ]
    return set(found[:1]) if found[0] == found[1] else set()


def played(trial: Trial, folder: Path, *arguments: str) -> Any:
    """The report of the demo on the cluster of the tests, which it keeps."""
    argv = [sys.executable, "-m", "demo", "--keep", "--report-dir", str(folder), *arguments]
    try:
        done = subprocess.run(argv, cwd=trial.root, capture_output=True, text=True, timeout=900, check=False)
    finally:
        # The demo measures the model and sets the nodes' speeds again, but they keep their profiles.
        trial.cluster.set_speeds(trial.speeds)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert (folder / "report.html").stat().st_size > 100_000
    return json.loads((folder / "report.json").read_text())


def test_the_joint_choice_beats_the_fixed_modes_and_loses_no_request(trial: Trial, tmp_path: Path) -> None:
    tables = {node: found["spec"]["routes"] for node, found in trial.placements().items()}
    report = played(trial, tmp_path, "--acts", "modes", "--phase-seconds", "6")
    modes = report["modes"]
    assert tuple(modes) == MODES

    auto = modes["Auto"]
    # A node that is too busy to respond in time refuses a request, by which it is not lost.
    assert auto["failed"] == auto["refused"]
    assert [phase["link_bps"] for phase in auto["phases"]] == list(LINK_RATES_BPS)
    moves = 0
    for node, table in tables.items():
        phases = [phase["nodes"][node] for phase in auto["phases"]]
        wanted = set[tuple[str, str]]().union(*(certain(table, rate) for rate in LINK_RATES_BPS))
        # Which of two routes of nearly the same value is taken depends on how steady the link was.
        routes = {(phase["exit"], phase["cut"]) for phase in phases}
        assert len(routes) >= min(len(wanted), 2), (node, table, phases)
        moves += min(len(wanted), 2) - 1 if wanted else 0
    assert report["switches"] >= moves

    scores = {name: mode["slo_attainment"] * mode["accuracy"] for name, mode in modes.items()}
    assert scores["Auto"] > max(scores["CloudOnly"], scores["LocalOnly"]), scores
    assert modes["RightSizingOnly"]["accuracy"] < auto["accuracy"]
    objective = 0.95
    for name in ("CloudOnly", "LocalOnly"):
        assert min(phase["slo_attainment"] for phase in modes[name]["phases"]) < objective


def test_a_tenant_at_ten_times_its_rate_steps_down_beside_one_that_is_served(
    trial: Trial, tmp_path: Path
) -> None:
    report = played(trial, tmp_path, "--acts", "tenants", "--tenant-seconds", "12")["tenants"]
    before, during, after = (phase["tenants"] for phase in report["phases"])
    quiet, noisy = during[QUIET], during[NOISY]
    # On a busy machine, responses beyond the declared rate can come after their client gave up.
    assert [found["lost"] for found in (*before.values(), *after.values(), quiet)] == [0] * 5
    # By the profile, a node has no time for the full model at ten times the rate.
    assert noisy["cheaper"] + noisy["refused"] > 0
    assert quiet["full"] + quiet["cheaper"] > 0
    for phase in report["phases"]:
        declared = report["declared_rate"] * len(report["nodes"]) * phase["seconds"]
        for name, factor in ((QUIET, 1), (NOISY, phase["factor"])):
            assert phase["tenants"][name]["requests"] == pytest.approx(factor * declared, rel=0.3, abs=8)
    assert all(name in report["kubectl_get_tenants"] for name in (QUIET, NOISY))

    kubectl = trial.cluster.kubectl
    for kind in ("namespaces", "tenants"):
        left = kubectl("get", kind, "-o", "name").split()
        assert not [name for name in left if name.endswith((QUIET, NOISY))], kind
    trial.wait("the example Ready", lambda: ready(installation.service(trial.cluster)))
