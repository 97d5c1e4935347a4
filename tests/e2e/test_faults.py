"""Faults that `make faults` plants, once each: no request fails, and everything becomes as it was."""

import pytest

from benchmarks.faults.ground import Ground
from benchmarks.faults.planted import FAULTS, FIXED
from benchmarks.faults.runs import run
from trials import Trial


@pytest.fixture
def ground(trial: Trial) -> Ground:
    return Ground(trial.root, trial.trained.onnx, trial.trained.held_out, trial.slo, print)


@pytest.mark.parametrize("name", FIXED)
def test_a_fault_costs_no_request_and_leaves_nothing_behind(ground: Ground, trial: Trial, name: str) -> None:
    found = run(ground, name, FAULTS[name], "")

    assert found.requests > 0
    assert found.held, f"{'; '.join(found.broken)}\n{trial.state()}"


@pytest.mark.extended
@pytest.mark.parametrize("name", [name for name in FAULTS if name not in FIXED])
def test_a_longer_fault_costs_no_request_and_leaves_nothing_behind(
    ground: Ground, trial: Trial, name: str
) -> None:
    found = run(ground, name, FAULTS[name], "")

    assert found.requests > 0
    assert found.held, f"{'; '.join(found.broken)}\n{trial.state()}"
