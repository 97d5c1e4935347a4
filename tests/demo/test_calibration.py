from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import calibration
from demo.calibration import LEAST_SHARE, LEAST_SPEED, MOST_SHARE, MOST_SPEED, SHARES, latency, speeds
from demo.training import TrainedModel

SLO = 0.150


def profile(camera: float) -> dict[str, Any]:
    classes = {"camera": camera, "gateway": camera * SHARES["gateway"] / SHARES["camera"]}
    measured = [{"name": n, "exits": [{"mean": f"{s * 1e3:.6f}ms"}]} for n, s in classes.items()]
    return {"spec": {"deviceClasses": measured}}


@given(st.floats(1e-5, 10.0))
def test_nodes_take_their_share_of_the_slo_wherever_a_speed_can_give_it(full: float) -> None:
    found = speeds(full, SLO)
    assert found["camera"] <= found["gateway"]
    for name, speed in found.items():
        assert LEAST_SPEED <= speed <= MOST_SPEED
        if LEAST_SPEED < speed < MOST_SPEED:
            assert full / speed == pytest.approx(SHARES[name] * SLO, rel=0.01)


@given(st.floats(1e-2, 10.0))
def test_the_slo_leaves_a_choice_whatever_was_measured(camera: float) -> None:
    found = latency(profile(camera), SLO)
    assert LEAST_SHARE <= camera / found <= MOST_SHARE


def test_an_slo_that_leaves_a_choice_is_kept() -> None:
    assert latency(profile(1.3 * SLO), SLO) == SLO
    assert latency(profile(0.5 * SLO), SLO) == pytest.approx(0.5 * SLO / 1.25)


def test_the_models_seconds_are_the_least_of_several_runs(model: TrainedModel) -> None:
    times = iter([0.0, 5.0] + [float(t) for t in range(100, 400)])
    assert calibration.full_model_seconds(model.onnx, model.held_out, lambda: next(times)) == 1.0
