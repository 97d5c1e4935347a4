"""Inputs on which a model is measured: given ones, and assumed ones that are reported."""

from __future__ import annotations

import argparse
import errno
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from edge_runtime.errors import BadRequest
from edge_runtime.samples.flags import Given, add_flags, given_by
from edge_runtime.samples.making import MOST, Samples, make
from edge_runtime.tensors import Tensor

IMAGES = Tensor("images", "FP32", (-1, 3, -1, -1))
RATE = Tensor("rate", "INT64", (), any_rank=True)
WORDS = Tensor("words", "BYTES", (-1, 2))
MASK = Tensor("mask", "BOOL", (-1, -1))
INPUTS = (IMAGES, RATE, WORDS, MASK)
DIMENSIONS = {"images": ("N", 3, "H", "W"), "rate": (), "words": ("N", 2), "mask": ("H", None)}


def made(*flags: str) -> Samples:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser)
    return make(INPUTS, DIMENSIONS, given_by(parser.parse_args(flags)))


def refusal(*flags: str) -> str:
    with pytest.raises(BadRequest) as caught:
        made(*flags)
    return str(caught.value)


def shapes(samples: Samples) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in samples.feeds[0].items()}


def test_without_flags_everything_is_zero_and_every_open_size_is_named() -> None:
    samples = made()
    assert shapes(samples) == {"images": (1, 3, 1, 1), "rate": (), "words": (1, 2), "mask": (1, 1)}
    assert [not a.any() for a in samples.feeds[0].values()] == [True] * 4
    assert samples.made == ["images", "rate", "words", "mask"]
    assert [(a.input, a.dimension, a.symbol, a.size) for a in samples.assumed] == [
        ("images", 0, "N", 1),
        ("images", 2, "H", 1),
        ("images", 3, "W", 1),
        ("words", 0, "N", 1),
        ("mask", 0, "H", 1),
        ("mask", 1, None, 1),
    ]
    document = samples.document()
    assert document["assumed"][1] == {"input": "images", "dimension": 2, "symbol": "H", "size": 1}
    assert document["inputs"][0] == {
        "name": "images", "datatype": "FP32", "shape": [1, 3, 1, 1], "values": "zeros",
    }  # fmt: skip
    assert "--shape images=Nx3xHxW" in samples.lines()[0]


def test_a_size_that_is_given_counts_wherever_the_file_has_its_name() -> None:
    samples = made("--shape", "images=2x3x8x9")
    assert shapes(samples) == {"images": (2, 3, 8, 9), "rate": (), "words": (2, 2), "mask": (8, 1)}
    assert [(a.input, a.dimension) for a in samples.assumed] == [("mask", 1)]
    assert samples.sizes()["mask"] == (8, -1)


@examples(st.tuples(*[st.integers(0, 4)] * 3))
def test_every_shape_that_fits_is_taken(sizes: tuple[int, int, int]) -> None:
    rows, height, width = sizes
    samples = made("--shape", f"images={rows}x3x{height}x{width}", "--shape", "mask=5x6")
    assert shapes(samples)["images"] == (rows, 3, height, width)
    assert shapes(samples)["mask"] == (5, 6)
    assert not samples.assumed


def test_values_are_one_for_all_a_list_or_a_file(tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.save(tmp_path / "a=b.npy", images)
    samples = made(
        f"--input=images=@{tmp_path}/a=b.npy",
        "--input=rate=16000",
        '--input=words=[["a","b"],["c","d"]]',
        "--input=mask=true",
        "--shape=mask=2x3",
    )
    feed = samples.feeds[0]
    np.testing.assert_array_equal(feed["images"], images)
    assert feed["rate"].shape == ()
    assert feed["rate"] == 16000
    assert feed["words"].tolist() == [["a", "b"], ["c", "d"]]
    assert feed["mask"].all()
    assert (samples.made, samples.assumed) == ([], ())
    assert made("--input", "words=nine lives").feeds[0]["words"].tolist() == [["nine lives"] * 2]
    assert made("--input", "words=9").feeds[0]["words"].tolist() == [["9"] * 2]


def test_samples_are_taken_one_after_the_other(tmp_path: Path) -> None:
    images = np.arange(6 * 3 * 4, dtype=np.float32).reshape(6, 3, 2, 2)
    masks = np.arange(6 * 4).reshape(6, 2, 2) % 3 == 0
    np.savez(tmp_path / "s.npz", images=images, mask=masks)
    samples = made("--samples", f"{tmp_path}/s.npz")
    assert len(samples.feeds) == 6
    for i, feed in enumerate(samples.feeds):
        np.testing.assert_array_equal(feed["images"], images[i : i + 1])
        np.testing.assert_array_equal(feed["mask"], masks[i])
    assert samples.values == {"images": "samples", "rate": "zeros", "words": "zeros", "mask": "samples"}


def test_a_sample_has_as_many_rows_as_its_shape_says(tmp_path: Path) -> None:
    images = np.arange(6 * 3 * 4, dtype=np.float32).reshape(6, 3, 2, 2)
    np.savez(tmp_path / "s.npz", images=images)
    samples = made("--samples", f"{tmp_path}/s.npz", "--shape", "images=2x3x2x2")
    assert [feed["images"].shape for feed in samples.feeds] == [(2, 3, 2, 2)] * 3
    assert shapes(samples)["words"] == (2, 2)
    assert refusal("--samples", f"{tmp_path}/s.npz", "--shape", "images=4x3x2x2").startswith(
        f"--samples {tmp_path}/s.npz: images: 6 rows "
    )


def test_of_many_samples_some_are_used_that_lie_far_apart(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", images=np.arange(100, dtype=np.float32).repeat(3).reshape(100, 3, 1, 1))
    samples = made("--samples", f"{tmp_path}/s.npz")
    used = [int(feed["images"][0, 0, 0, 0]) for feed in samples.feeds]
    assert len(used) == MOST
    assert (used[0], used[-1]) == (0, 99)
    assert min(np.diff(used)) >= 100 // MOST
    assert f"{MOST} of 100 samples" in samples.lines()[0]


# Flags, and what the message names: the flag with its value first.
BAD: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "an input that there is not": (
        ["--shape", "image=1x3x8x8"],
        ('--shape: "image"', "images, rate, words, mask"),
    ),
    "values of no input": (["--input", "x=1"], ('--input: "x"', "images, rate")),
    "too few dimensions": (["--shape", "images=3x8x8"], ("--shape images=3x8x8: 3 ", " 4")),
    "another fixed size": (["--shape", "images=1x4x8x8"], ("--shape images=1x4x8x8: ", "1 is 4", " 3")),
    "more than there is room for": (
        ["--shape", "images=1x3x99999999x99999999"],
        ("--shape images=1x3x99999999x99999999: ", "4 GiB"),
    ),
    "a shape twice": (["--shape", "mask=1x1", "--shape", "mask=2x2"], ('--shape: "mask"', "twice")),
    "another datatype": (["--input", "rate=1.5"], ("--input rate=1.5: ", "INT64", "(1.5)")),
    "a word": (["--input", "rate=fast"], ("--input rate=fast: ", "INT64", '("fast")')),
    "a number that is too large": (["--input", "rate=1e30"], ("--input rate=1e30: ", "INT64")),
    "a list of another rank": (["--input", "mask=[true]"], ("--input mask=[true]: 1 ", " 2")),
    "lists too deep": (["--input", f"mask={'[' * 5000}"], (f"--input mask={'[' * 80}: ", "deep")),
    "a ragged list": (["--input", "mask=[[true],[]]"], ("--input mask=[[true],[]]: ",)),
    "two shapes": (
        ["--input", "mask=[[true]]", "--shape", "mask=2x2"],
        ("--input mask=[[true]]: ", "[1, 1]", "--shape mask=2x2"),
    ),
    "a file that is not there": (
        ["--input", "images=@/none.npy"],
        ("--input images=@/none.npy: /none.npy ", os.strerror(errno.ENOENT)),
    ),
    "samples that are not there": (
        ["--samples", "/none.npz"],
        ("--samples /none.npz: /none.npz ", os.strerror(errno.ENOENT)),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_the_models_is_refused_with_flag_value_and_fix(case: str) -> None:
    flags, (start, *parts) = BAD[case]
    message = refusal(*flags)
    assert message.startswith(start)
    assert [part for part in parts if part not in message[len(start) :]] == []


FORMS = (
    *("--shape=images", "--shape=images:1x3", "--shape=images=1x-3", "--shape=x=1.5", "--shape==1"),
    *("--input=images", "--input==1"),
)


@pytest.mark.parametrize("flag", FORMS)
def test_a_flag_of_another_form_is_refused_with_an_example(flag: str) -> None:
    with pytest.raises(argparse.ArgumentError, match=r"e\.g\. images="):
        made(flag)


ONE = np.zeros((1, 3, 2, 2), np.float32)
FILES: dict[str, tuple[dict[str, Any], str]] = {
    "another name": ({"image": ONE}, '"image"'),
    "another datatype": ({"images": ONE.astype(float)}, "float64"),
    "another size": ({"images": np.zeros((2, 4, 2, 2), np.float32)}, "1 is 4"),
    "another rank": ({"images": np.zeros((2, 2), np.float32)}, "images has 4"),
    "unequal counts": ({"images": ONE.repeat(3, 0), "mask": np.zeros((2, 1, 1), bool)}, "equally many"),
    "no arrays": ({}, "contains no arrays"),
    "no rows": ({"images": ONE[:0]}, "images: has no rows"),
    "objects": ({"images": np.array([None])}, "images cannot be read"),
}


@pytest.mark.parametrize("case", FILES)
def test_samples_that_are_not_the_models_are_refused(case: str, tmp_path: Path) -> None:
    arrays, sentence = FILES[case]
    np.savez(tmp_path / "s.npz", **arrays)
    said = refusal("--samples", f"{tmp_path}/s.npz")
    assert said.startswith(f"--samples {tmp_path}/s.npz")
    assert sentence in said


@pytest.mark.parametrize("member", ["images", "images.npy"])
def test_samples_that_are_not_arrays_are_refused(member: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "s.npz", "w") as file:
        file.writestr(member, "words")
    said = refusal("--samples", f"{tmp_path}/s.npz")
    assert said.startswith(f"--samples {tmp_path}/s.npz: images ")
    assert "numpy.savez" in said


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("no arrays")
    np.save(tmp_path / "one.npy", ONE)
    np.savez(tmp_path / "many.npz", images=ONE)
    assert "numpy.savez" in refusal("--samples", f"{tmp_path}/junk")
    assert "numpy.save" in refusal("--input", f"mask=@{tmp_path}/junk")
    assert "one array" in refusal("--samples", f"{tmp_path}/one.npy")
    assert "give it by --samples" in refusal("--input", f"images=@{tmp_path}/many.npz")
    both = ("--samples", f"{tmp_path}/many.npz", "--input", "images=1")
    assert "--input images" in refusal(*both)


def test_the_advice_names_what_was_made_up() -> None:
    assert "--input images=VALUE" in made().advice()
    assert "--shape images=Nx3xHxW" in made().advice()
    assert "rate" not in made("--input", "rate=1", "--shape", "images=1x3x2x2").advice()
    values = {"images": "1", "rate": "1", "words": "1", "mask": "true"}
    everything = Given({"images": (1, 3, 2, 2), "mask": (2, 2)}, values)
    assert make(INPUTS, DIMENSIONS, everything).advice().startswith("give others")
