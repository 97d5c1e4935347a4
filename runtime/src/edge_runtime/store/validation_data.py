"""Labeled inputs in a NumPy file, on which the accuracy of a codec is measured."""

from __future__ import annotations

import io
import zipfile
from typing import Final

import numpy as np

from edge_runtime.errors import BadRequest
from edge_runtime.store.accuracy_metrics import metric_of
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor

LEAST: Final = 100
"""Minimum number of samples: with fewer, one sample is more than a hundredth."""
_FIX: Final = "write it by numpy.savez(file, inputs=…, labels=…)"


def read_validation(data: bytes, wanted: Tensor, limit: int) -> tuple[Array, Array]:
    """Inputs [N, ...] as the model takes them, and labels [N, ...] of one of the accuracy metrics.

    limit: maximum bytes of the unpacked arrays. Raises BadRequest with what is wrong with the file.
    """
    inputs, labels = _arrays(data, limit)
    if inputs.dtype != NUMPY_TYPES[wanted.datatype] or not wanted.fits(inputs.shape):
        raise BadRequest(
            f"validation: inputs are {inputs.dtype} {list(inputs.shape)}, but the model takes "
            f"{wanted.name} {wanted.datatype} {list(wanted.shape)}: {_FIX} as the model takes them"
        )
    metric_of(labels, len(inputs))
    if len(labels) < LEAST:
        raise BadRequest(f"validation: {len(labels)} samples are too few: give at least {LEAST}")
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise BadRequest("validation: some inputs are not finite numbers: leave those samples out")
    return inputs, labels


def _arrays(data: bytes, limit: int) -> tuple[Array, Array]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            size = sum(entry.file_size for entry in file.infolist())
        if size > limit:
            raise BadRequest(
                f"validation: {size} bytes unpacked exceed the limit of {limit}: give fewer samples"
            )
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return file["inputs"], file["labels"]
    except KeyError as error:
        raise BadRequest(f"validation: {error.args[0]}: {_FIX}") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise BadRequest(f"validation: not an .npz file of plain arrays ({error}): {_FIX}") from error


def spread(count: int, most: int) -> Array:
    """At most `most` indices out of `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
