"""Labeled inputs in a NumPy file, from which heads of exits are trained and on which they are measured."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge_runtime.errors import BadRequest, NotFound
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor

LEAST: Final = 50
"""Minimum samples in total."""
_FIX: Final = "write it by numpy.savez(file, inputs=…, labels=…)"


@dataclass(frozen=True, slots=True)
class Samples:
    """Labeled inputs, and which of them are held out from training.

    inputs: [N, ...]. labels: [N], class numbers. held_out: [N], booleans.
    """

    inputs: Array
    labels: Array
    held_out: Array


def read_samples(path: Path, wanted: Tensor, classes: int, share: float, seed: int) -> Samples:
    """Reads a NumPy .npz file with `inputs` and `labels`, and holds out a share of each class.

    Raises NotFound and BadRequest with the array, what it is and what is needed.
    """
    what = f"--samples {path}"
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = dict(file)
    except FileNotFoundError as error:
        raise NotFound(f"{what}: no such file: {_FIX}") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        raise BadRequest(f"{what}: not an .npz file of plain arrays ({error}): {_FIX}") from error
    missing = [name for name in ("inputs", "labels") if name not in arrays]
    if missing:
        raise BadRequest(f"{what}: has no {missing[0]}, but {', '.join(arrays) or 'nothing'}: {_FIX}")
    inputs, labels = arrays["inputs"], arrays["labels"]
    one = wanted.shape[:1] == (1,) and inputs.ndim
    if inputs.dtype != NUMPY_TYPES[wanted.datatype] or not wanted.fits(
        (1, *inputs.shape[1:]) if one else inputs.shape
    ):
        raise BadRequest(
            f"{what}: inputs are {inputs.dtype} {list(inputs.shape)}, but the model takes {wanted.name} "
            f"{wanted.datatype} {list(wanted.shape)}: give them as the model takes them"
        )
    if labels.shape != (len(inputs),) or labels.dtype.kind not in "iu":
        raise BadRequest(
            f"{what}: labels are {labels.dtype} {list(labels.shape)} for {len(inputs)} inputs: write one "
            "whole number for each, that of the right class"
        )
    if len(labels) < LEAST:
        raise BadRequest(f"{what}: {len(labels)} samples are too few: give at least {LEAST}")
    if labels.min() < 0 or labels.max() >= classes:
        raise BadRequest(
            f"{what}: labels are {labels.min()} to {labels.max()}, but the model has the classes 0 to "
            f"{classes - 1}: write the numbers of its classes"
        )
    if len(np.unique(labels)) < 2:
        raise BadRequest(f"{what}: all labels are {labels[0]}: give samples of at least two classes")
    held_out = _held_out(labels, share, seed)
    if not held_out.any() or len(np.unique(labels[~held_out])) < 2:
        raise BadRequest(
            f"--held-out: {share:g} leaves {int(held_out.sum())} of {len(labels)} samples to measure on: "
            "give more samples of each class, or another share"
        )
    return Samples(inputs, labels.astype(np.int64), held_out)


def _held_out(labels: Array, share: float, seed: int) -> Array:
    """A share of each class, rounded down, by chance."""
    random = np.random.default_rng(seed)
    held: Array = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        held[members[: int(share * len(members))]] = True
    return held
