"""Times of operators, fitted to synthetic ones: what is known is recovered."""

from math import log

import numpy as np
import pytest

from edge_planning.costs.operator_times import (
    Observation,
    ProfiledModel,
    fit_operator_times,
    left_out,
    observations,
    run_estimate,
)
from edge_planning.costs.operators import Operator
from edge_planning.errors import BadValueError


def conv(channels: int, size: int, window: int = 3) -> Operator:
    return Operator(
        "Conv",
        "float",
        ((1, channels, size, size), (channels, channels, window, window)),
        ((1, channels, size, size),),
    )


def add(size: int) -> Operator:
    return Operator("Add", "float", ((1, size), (1, size)), ((1, size),))


def seconds(operator: Operator) -> float:
    """A processor with 20 GFLOP/s and 5 GB/s, which takes 1 us for each operator."""
    work = operator.work
    return 1e-6 + work.flops / 20e9 + (work.read + work.written + work.weights) / 5e9


CONVS = [conv(c, s, w) for c in (8, 16, 32, 64, 128) for s in (7, 14, 28, 56) for w in (1, 3)]
ADDS = [add(2**n) for n in range(4, 21)]
SEEN = [Observation(one, seconds(one)) for one in (*CONVS, *ADDS)]


def test_operators_between_the_fitted_ones_are_predicted() -> None:
    asked = [conv(24, 20), conv(96, 10, 1), conv(48, 40), add(3000), add(70_000)]
    found, error = fit_operator_times(SEEN).seconds(asked)
    assert found == pytest.approx([seconds(one) for one in asked], rel=0.1)
    assert (error < 0.5).all()


def test_an_operator_far_from_the_fitted_ones_follows_its_work_with_a_larger_error() -> None:
    times = fit_operator_times(SEEN)
    far = conv(512, 112)
    (found,), (error,) = times.seconds([far])
    assert found == pytest.approx(seconds(far), rel=0.3)
    assert error > times.seconds([CONVS[0]])[1][0]


def test_single_disturbed_measurements_do_not_matter() -> None:
    disturbed = [
        Observation(each.operator, each.seconds * (20 if number % 10 == 0 else 1))
        for number, each in enumerate(SEEN)
    ]
    again = [*disturbed, *SEEN, *SEEN]  # the same operators in three models
    found, _ = fit_operator_times(again).seconds(CONVS)
    off = [abs(log(a / seconds(b))) for a, b in zip(found, CONVS, strict=True)]
    assert np.median(off) < 0.1
    assert max(off) < 0.3


def test_a_kind_without_observations_is_predicted_from_those_of_other_kinds() -> None:
    other = Operator("Mul", "float", ((1, 4096), (1, 4096)), ((1, 4096),))
    (found,), (error,) = fit_operator_times(SEEN).seconds([other])
    assert 0.2 < found / seconds(other) < 5
    assert error > 0.3


def test_a_fused_activation_does_not_change_the_time_of_its_operator() -> None:
    times, fused = fit_operator_times(SEEN), conv(32, 14)
    fused = Operator("FusedConv", fused.datatype, fused.inputs, fused.outputs)
    assert times.seconds([fused])[0][0] == pytest.approx(seconds(fused), rel=0.1)


def test_a_run_takes_its_operators_and_a_call() -> None:
    times = fit_operator_times(SEEN)
    total, error = run_estimate(times, [*CONVS, *CONVS], 0.5)
    assert total == pytest.approx(0.5 + 2 * sum(map(seconds, CONVS)), rel=0.1)
    assert 0 < error < 0.5
    assert run_estimate(times, [], 0.25) == (0.25, 0.0)


def test_each_model_is_predicted_without_its_own_operators() -> None:
    def model(operators: list[Operator], factor: float = 1.0) -> ProfiledModel:
        ran = tuple(Observation(one, factor * seconds(one)) for one in operators)
        return ProfiledModel(ran, sum(each.seconds for each in ran) + 3e-6)

    models = {
        "even": model(CONVS[::2] + ADDS[::2]),
        "odd": model(CONVS[1::2] + ADDS[1::2]),
        "slow": model([conv(40, 24)] * 5, 3.0),
    }
    ratios = left_out(models, 3e-6)
    assert ratios["even"] == pytest.approx(1, abs=0.3)
    assert ratios["odd"] == pytest.approx(1, abs=0.3)
    # Its own operators, which take three times as long, are not among those that it is predicted from.
    assert ratios["slow"] == pytest.approx(1 / 3, rel=0.2)


def test_observations_of_a_profile_are_read() -> None:
    measured = {"observed": [{**add(16).document(), "count": 3, "seconds": 2e-6}]}
    assert observations(measured) == [Observation(add(16), 2e-6)]


def test_a_fit_without_observations_is_rejected() -> None:
    with pytest.raises(BadValueError, match="observations: none"):
        fit_operator_times([])


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_not_above_zero_is_rejected(wrong: float) -> None:
    with pytest.raises(BadValueError, match="observation of Add"):
        Observation(add(16), wrong)
