"""Inputs in a NumPy file, with labels of a metric, on which the accuracy of a codec is measured."""

from __future__ import annotations

import io
import zipfile
from typing import Final

import numpy as np

from edge_runtime.errors import BadRequest
from edge_runtime.store.accuracies.metric import AccuracyMetric
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor

LEAST: Final = 100
"""Minimum number of samples: with fewer, one sample is more than a hundredth."""
_INPUTS: Final = "inputs"
_FIX: Final = "write it by numpy.savez(file, inputs=…, …)"


def read_validation(
    data: bytes, wanted: Tensor, limit: int, metric: AccuracyMetric
) -> tuple[Array, Array | None, AccuracyMetric]:
    """Returns inputs [N, ...] as the model takes them, labels [N, ...] and their metric.

    The labels are None for a metric that needs none. limit: maximum bytes of the unpacked arrays. Raises
    BadRequest with what is wrong with the file.
    """
    arrays = _arrays(data, limit)
    if _INPUTS not in arrays:
        held = ", ".join(arrays) or "nothing"
        raise BadRequest(f"validation: inputs are missing, the file has {held}: {_FIX}")
    inputs = arrays[_INPUTS]
    # A model whose batch is 1 runs on one sample after the other.
    one = wanted.shape[:1] == (1,) and len(inputs.shape) > 0
    if inputs.dtype != NUMPY_TYPES[wanted.datatype] or not wanted.fits(
        (1, *inputs.shape[1:]) if one else inputs.shape
    ):
        raise BadRequest(
            f"validation: inputs are {inputs.dtype} {list(inputs.shape)}, but the model takes "
            f"{wanted.name} {wanted.datatype} {list(wanted.shape)}: {_FIX} as the model takes them"
        )
    metric, labels = metric.read(arrays, len(inputs))
    if len(inputs) < LEAST:
        raise BadRequest(f"validation: {len(inputs)} samples are too few: give at least {LEAST}")
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise BadRequest("validation: some inputs are not finite numbers: leave those samples out")
    return inputs, labels, metric


def _arrays(data: bytes, limit: int) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            size = sum(entry.file_size for entry in file.infolist())
        if size > limit:
            raise BadRequest(
                f"validation: {size} bytes unpacked exceed the limit of {limit}: give fewer samples"
            )
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise BadRequest(f"validation: not an .npz file of plain arrays ({error}): {_FIX}") from error


def spread(count: int, most: int) -> Array:
    """At most `most` indices out of `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
