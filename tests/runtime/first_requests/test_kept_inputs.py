"""The inputs of first requests: bounded, copied, and read as samples."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import pytest

from edge_runtime.first_requests.kept_inputs import MOST, KeptInputs
from edge_runtime.samples.flags import Given
from edge_runtime.samples.making import make
from edge_runtime.tensors import Array, Tensor

X = Tensor("x", "FP32", (-1, 3))
RATE = Tensor("sr", "INT64", ())
STATE = Tensor("state", "FP32", (2, 1, 4))
ITEM = {"x": np.ones((1, 3), np.float32)}


def test_no_more_than_eight_requests_are_kept() -> None:
    kept = KeptInputs()
    assert [kept.add([X], ITEM) for _ in range(MOST + 2)] == [True] * MOST + [False] * 2
    assert len(kept) == MOST


def test_no_more_bytes_are_kept_than_the_limit() -> None:
    kept = KeptInputs(most_bytes=30)
    assert [kept.add([X], ITEM) for _ in range(3)] == [True, True, False]


def test_the_arrays_of_a_request_are_copied() -> None:
    kept, mine = KeptInputs(), np.zeros((1, 3), np.float32)
    kept.add([X], {"x": mine})
    mine[:] = 7
    assert read(kept, [X])[0]["x"].tolist() == [[0, 0, 0]]


def test_the_first_item_of_a_batch_is_kept() -> None:
    kept = KeptInputs()
    kept.add([X], {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})
    assert [feed["x"].tolist() for feed in read(kept, [X])] == [[[0, 1, 2]]]


def test_requests_of_another_shape_are_not_kept_beside_the_first() -> None:
    signal = Tensor("x", "FP32", (-1, -1))
    kept = KeptInputs()
    assert kept.add([signal], {"x": np.ones((1, 5), np.float32)})
    assert not kept.add([signal], {"x": np.ones((1, 9), np.float32)})
    assert kept.shapes() == {"x": (1, 5)}


def test_each_request_is_one_sample_with_all_of_its_inputs() -> None:
    kept = KeptInputs()
    for number in range(3):
        state = np.full((2, 1, 4), number, np.float32)
        item = {"x": np.full((1, 3), number, np.float32), "sr": np.array(8000 + number), "state": state}
        kept.add([X, RATE, STATE], item)
    found = read(kept, [X, RATE, STATE])
    assert [feed["sr"].item() for feed in found] == [8000, 8001, 8002]
    assert [feed["x"].tolist() for feed in found] == [[[n] * 3] for n in range(3)]
    assert [feed["state"].shape for feed in found] == [(2, 1, 4)] * 3


def test_texts_are_kept_as_texts() -> None:
    words = Tensor("words", "BYTES", (-1, 2))
    kept = KeptInputs()
    kept.add([words], {"words": np.array([[b"K\xc3\xb6ln", "Bonn"]], object)})
    assert read(kept, [words])[0]["words"].tolist() == [["Köln", "Bonn"]]


@pytest.mark.parametrize("rows", [2, 3])
def test_an_open_first_dimension_that_is_not_the_batch_keeps_all_of_its_rows(rows: int) -> None:
    frames = Tensor("frames", "FP32", (-1, 3), batched=False)
    kept = KeptInputs()
    for _ in range(2):
        kept.add([frames], {"frames": np.ones((rows, 3), np.float32)})
    assert [feed["frames"].shape for feed in read(kept, [frames])] == [(rows, 3)] * 2


def read(kept: KeptInputs, inputs: list[Tensor]) -> tuple[dict[str, Array], ...]:
    """What a measurement reads of the file."""
    with NamedTemporaryFile(suffix=".npz") as file:
        file.write(kept.file())
        file.flush()
        return make(inputs, {}, Given(kept.shapes(), samples=Path(file.name))).feeds
