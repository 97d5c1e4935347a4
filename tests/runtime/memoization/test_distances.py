"""Distances of images and of measurements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge_runtime.memoization.distances import digest, distance, size_of, sketch

THRESHOLD = 0.02
Image = npt.NDArray[Any]


def scene(side: int = 224, channels: int = 3, seed: int = 5) -> Image:
    """A smooth image from 0 to 1, [1, channels, side, side], as of a camera in front of a wall."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(0, 2, (channels, 3))]
    return ((np.stack(waves)[None] + 1) / 2).astype(np.float32)


def with_object(image: Image, at: int, side: int = 20) -> Image:
    """A bright square in the image."""
    changed = image.copy()
    changed[..., at : at + side, at : at + side] = 1
    return changed


def between(a: Image, b: Image) -> float:
    found = distance(sketch({"image": a}), sketch({"image": b}))
    assert found is not None
    return found


def test_noise_of_a_camera_is_below_the_threshold_and_an_object_that_moved_above() -> None:
    rng, image = np.random.default_rng(1), with_object(scene(), 40)
    noisy = image + rng.normal(scale=0.02, size=image.shape).astype(np.float32)
    assert 0.001 < between(image, noisy) < 0.005
    assert between(image, with_object(scene(), 60)) > 0.05
    assert between(image, scene()) > 0.03  # the object is gone
    assert between(image, image + 0.05) > THRESHOLD  # a lamp was switched on


def test_an_object_shows_by_its_contrast_times_the_root_of_its_share() -> None:
    grey = np.full((1, 1, 224, 224), 0.5, np.float32)
    grey[..., :14, :14], grey[..., -14:, -14:] = 0, 1  # a block of black and one of white: the contrast is 1
    changed = grey.copy()
    changed[..., 56:84, 56:84] += 0.2  # four of 256 blocks
    assert between(grey, changed) == pytest.approx(0.2 * math.sqrt(4 / 256), rel=1e-3)
    speck = grey.copy()
    speck[..., 56:64, 56:64] = 1  # a part of one block
    assert between(grey, speck) == pytest.approx(16 * 0.5 * 64 / 224**2, rel=1e-3)


def test_bytes_are_compared_as_their_picture_is() -> None:
    image = scene()
    moved = with_object(image, 60)
    as_bytes = [(a * 255).round().astype(np.uint8) for a in (image, moved)]
    assert between(*as_bytes) == pytest.approx(between(image, moved), rel=0.02)
    for kind in (np.float16, np.float64):
        assert between(image.astype(kind), moved.astype(kind)) == pytest.approx(
            between(image, moved), rel=0.01
        )


@pytest.mark.parametrize("size", [(224, 224), (100, 30), (17, 16), (8, 8), (1, 5), (480, 641)])
def test_channels_may_come_first_or_last(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 1, 3, *size)).astype(np.float32)
    first, last = between(a, b), between(a.transpose(0, 2, 3, 1).copy(), b.transpose(0, 2, 3, 1).copy())
    assert first == pytest.approx(last, rel=1e-4)
    assert between(a[0], b[0]) == pytest.approx(first, rel=1e-4)
    assert first > THRESHOLD


def test_one_item_or_one_channel_that_changed_is_not_lost_among_the_others() -> None:
    batch = np.concatenate([scene(64, seed=i) for i in range(16)])
    changed = batch.copy()
    changed[11, 1] = with_object(changed[11, 1], 20)
    assert between(batch, changed) == pytest.approx(between(batch[11:12], changed[11:12]))
    assert between(batch, changed) > 0.1


def test_all_inputs_must_be_near() -> None:
    image = scene(64)
    before = sketch({"image": image, "heat": np.array([[21.30]], np.float32)})
    warmer = distance(before, sketch({"image": image, "heat": np.array([[21.33]], np.float32)}))
    hot = distance(before, sketch({"image": image, "heat": np.array([[30.0]], np.float32)}))
    assert warmer == pytest.approx(0.03 / 21.33, rel=1e-3)
    assert hot == pytest.approx(0.29)


def test_measurements_are_compared_one_by_one_each_by_its_own_size() -> None:
    a = np.array([[1e6, 0.5, -3.0, 0.0]])
    assert between(a, a * 1.001) == pytest.approx(0.001, rel=0.01)
    b = a.copy()
    b[0, 1] = 0.6  # small compared with the million, but a different input
    assert between(a, b) == pytest.approx(1 / 6)
    b[0, 3] = 1e-9
    assert between(a, b) == 1


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.bool_, np.uint16])
def test_inputs_that_are_not_measurements_are_compared_exactly(dtype: type) -> None:
    tokens: Image = np.array([[1, 0, 1]], dtype)
    other: Image = np.array([[1, 1, 1]], dtype)
    assert between(tokens, tokens.copy()) == 0
    assert between(tokens, other) == 1
    words = np.array([["a", "bc"]], object)
    assert between(words, np.array([["a", "bc"]], object)) == 0
    assert between(words, np.array([["ab", "c"]], object)) == 1


def test_other_shapes_types_or_names_cannot_be_compared() -> None:
    image = scene(32)
    before = sketch({"image": image})
    assert distance(before, sketch({"image": np.concatenate([image, image])})) is None
    assert distance(before, sketch({"image": image.astype(np.float64)})) is None
    assert distance(before, sketch({"picture": image})) is None
    assert distance(before, sketch({"image": image, "mask": image})) is None


def test_what_is_not_finite_is_near_to_nothing() -> None:
    image = scene(32)
    for value in (math.nan, math.inf, 3e38):
        broken = image.copy()
        broken[0, 0, :2] = value
        assert not between(image, broken) < THRESHOLD
        assert not between(broken, image) < THRESHOLD
        assert not between(broken, broken.copy()) < THRESHOLD
    assert not between(np.array([math.nan]), np.array([math.nan])) < THRESHOLD


def test_another_signal_without_a_mean_is_far_although_its_blocks_average_out() -> None:
    a, b = np.random.default_rng(3).normal(size=(2, 1, 128, 768)).astype(np.float32)
    assert between(a, b) > 0.1


def test_a_sketch_is_small_and_no_view_of_the_request() -> None:
    body = bytearray(scene().tobytes())
    image = np.frombuffer(body, np.float32).reshape(1, 3, 224, 224)
    row = np.frombuffer(body, np.float32, 8).reshape(1, 8)
    seen = sketch({"image": image, "row": row})
    assert size_of(seen) < 4000
    body[:] = bytes(len(body))
    assert distance(seen, sketch({"image": scene(), "row": scene().ravel()[:8].reshape(1, 8)})) == 0


images = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    elements=st.floats(-100, 100, width=32),
)


@given(images)
def test_an_input_has_distance_zero_from_itself(image: Image) -> None:
    assert between(image, image.copy()) == 0


@given(images, st.floats(-50, 50), st.floats(0.1, 50))
def test_a_change_of_units_changes_no_distance(image: Image, shift: float, scale: float) -> None:
    other = image.astype(np.float64)[..., ::-1].copy()
    image = image.astype(np.float64)
    far = between(image, other)
    scales = sketch({"x": image})["x"].scales()
    if far > 1e-3 and scales.max() < 1e6:  # otherwise rounding decides
        assert between(image * scale + shift, other * scale + shift) == pytest.approx(far, rel=1e-3)


@given(images, st.integers(0, 2**32 - 1))
def test_from_both_sides_a_distance_differs_by_the_contrasts_only(image: Image, seed: int) -> None:
    other = image + np.random.default_rng(seed).normal(size=image.shape).astype(np.float32)
    one, two = image[:1, :1], other[:1, :1]
    if one.shape[-1] <= 4:
        return  # channels, each with its own contrast
    scales = [sketch({"x": x})["x"].scales() for x in (one, two)]
    if max(scales[0][0], scales[1][0]) < 1e6:
        ratio = math.sqrt(scales[0][0] / scales[1][0])
        assert between(one, two) == pytest.approx(between(two, one) * ratio, rel=1e-3)


def test_a_digest_tells_inputs_apart_by_values_shapes_types_and_names() -> None:
    x = np.arange(12, dtype=np.float32)
    inputs: list[dict[str, Image]] = [
        {"x": x},
        {"x": x + 1},
        {"x": x.reshape(3, 4)},
        {"x": x.view(np.int32)},
        {"y": x},
        {"x": x[:6], "y": x[6:]},
        {"x": x[:5], "y": x[5:]},
        {"x": np.array(["a", "bc"], object)},
        {"x": np.array(["ab", "c"], object)},
        {"x": np.array(["abc", ""], object)},
        {"x": np.zeros((0, 3), np.float32)},
    ]
    found = {digest(each, b"k") for each in inputs}
    assert len(found) == len(inputs)
    assert all(len(each) == 16 for each in found)
    assert digest({"x": x, "y": x + 1}, b"k") == digest({"y": x + 1, "x": x}, b"k")
    assert digest({"x": x}, b"k") != digest({"x": x}, b"another")
    assert digest({"x": x.reshape(3, 4).T}, b"k") == digest({"x": x.reshape(3, 4).T.copy()}, b"k")
