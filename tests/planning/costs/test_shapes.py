"""Profiles and cuts of a model at shapes between those that were measured."""

import pytest

from edge_planning import ClassProfile, Cut, EntryProblem, Exit, Model, Plan, Slo, Timing, plan_entry
from edge_planning.costs.shapes import ShapedModel, ShapedProfile, size_of
from edge_planning.errors import BadModelError, BadProfileError
from messages import mentions

EXIT = Exit("final", "boxes", 0.9, (Cut("images", 4), Cut("pool", 1)))
MODEL = Model("detector", (EXIT,))
SMALL, LARGE = 3 * 320 * 320, 3 * 640 * 640
BYTES = {("final", "images"): (4 * SMALL, 4 * LARGE), ("final", "pool"): (SMALL / 4, LARGE / 4)}


def _profile(seconds: float, **other: object) -> ClassProfile:
    segments = {
        ("images", "pool"): Timing(seconds, 1.2 * seconds),
        ("pool", "boxes"): Timing(seconds / 2, 0.6 * seconds),
    }
    return ClassProfile("camera", segments, {"final": Timing(1.5 * seconds, 1.8 * seconds)}, **other)  # type: ignore[arg-type]


SHAPED = ShapedProfile((SMALL, LARGE), (_profile(0.02), _profile(0.08)))


def test_the_size_of_a_request_is_the_elements_of_its_inputs() -> None:
    assert size_of({"images": (1, 3, 320, 320), "scale": ()}) == SMALL + 1


def test_times_between_two_shapes_lie_between_theirs() -> None:
    found = SHAPED.at((SMALL + LARGE) / 2)
    segment = found.segments["images", "pool"]
    assert (segment.mean, segment.p95) == pytest.approx((0.05, 0.06))
    assert found.exits["final"].mean == pytest.approx(0.075)


def test_layers_before_a_cut_are_taken_at_the_shape_too() -> None:
    shaped = ShapedProfile(
        (100, 300),
        tuple(ClassProfile("camera", {}, before={"final": (0.0, each, 2 * each)}) for each in (0.1, 0.3)),
    )
    assert shaped.at(200).before["final"] == pytest.approx((0.0, 0.2, 0.4))


def test_the_error_of_the_times_is_stated_with_three_shapes() -> None:
    assert SHAPED.error is None
    shaped = ShapedProfile((100, 200, 300), tuple(map(_profile, (0.01, 0.04, 0.09))))
    assert shaped.error == pytest.approx(0.25)


def test_shapes_at_which_other_segments_were_measured_are_refused() -> None:
    other = ClassProfile("camera", {("images", "boxes"): Timing(0.1, 0.1)})
    with pytest.raises(BadProfileError, match=r"camera.*at 300 elements.*at 100"):
        ShapedProfile((100, 300), (_profile(0.1), other))


def test_a_profile_without_measurements_is_refused() -> None:
    with pytest.raises(BadProfileError, match="0 profiles at 0 sizes"):
        ShapedProfile((), ())


def test_bytes_of_a_cut_follow_the_shape() -> None:
    model = ShapedModel(MODEL, (SMALL, LARGE), BYTES).at(3 * 480 * 480)
    assert [cut.size for cut in model.exits[0].cuts] == [4 * 3 * 480 * 480, 3 * 480 * 480 / 4]


def test_a_cut_without_bytes_at_each_shape_is_refused() -> None:
    with pytest.raises(BadModelError, match=mentions("cut pool", "exit final", "1 sizes", "2 shapes")):
        ShapedModel(MODEL, (SMALL, LARGE), {**BYTES, ("final", "pool"): (5,)})


def test_a_plan_for_a_larger_shape_is_slower() -> None:
    plans = [
        plan_entry(
            EntryProblem(
                ShapedModel(MODEL, (SMALL, LARGE), BYTES).at(size), SHAPED.at(size), None, 0.0, Slo(0.1)
            )
        )
        for size in (SMALL, LARGE)
    ]
    assert [plan.met for plan in plans if isinstance(plan, Plan)] == [True, False]


def test_times_and_bytes_of_different_shapes_are_not_planned_together() -> None:
    model = Model("detector", (EXIT,), shapes={"images": (1, 3, 640, 640)})
    with pytest.raises(BadProfileError, match=r"images=1x3x320x320.*images=1x3x640x640"):
        EntryProblem(model, _profile(0.02, shapes={"images": (1, 3, 320, 320)}), None, 0.0, Slo(0.1))


def test_a_plan_states_the_sizes_that_its_times_assume() -> None:
    profile = _profile(0.02, assumptions=("images: dimension 2 (H) was measured as 1",))
    for slo in (0.5, 0.001):
        plan = plan_entry(EntryProblem(MODEL, profile, None, 0.0, Slo(slo)))
        assert "images: dimension 2 (H) was measured as 1" in plan.reasons
