"""Inputs in a NumPy file, with labels of a metric, on which the accuracy of a codec is measured."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_runtime.errors import BadRequest
from edge_runtime.store.accuracies.metric import AccuracyMetric
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor

LEAST: Final = 100
"""Minimum number of samples: with fewer, one sample is more than a hundredth."""
_INPUTS: Final = "inputs"
_FIX: Final = "write it by numpy.savez(file, inputs=…, …)"


@dataclass(frozen=True, slots=True)
class ValidationData:
    """Samples with labels.

    inputs: of the model by name, [N, ...] each. labels: [N, ...] of the metric; None if it needs none.
    """

    inputs: Mapping[str, Array]
    labels: Array | None
    metric: AccuracyMetric

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def chosen(self, rows: Array | slice) -> dict[str, Array]:
        """The inputs of some of the samples."""
        return {name: array[rows] for name, array in self.inputs.items()}


def read_validation(
    data: bytes, wanted: Sequence[Tensor], limit: int, metric: AccuracyMetric
) -> ValidationData:
    """Reads inputs as the model takes them, and labels.

    wanted: the inputs of the model. limit: maximum bytes of the unpacked arrays. Raises BadRequest with what
    is wrong with the file.
    """
    arrays = _arrays(data, limit)
    names = _names(wanted, arrays, metric)
    inputs = {tensor.name: arrays[name] for tensor, name in zip(wanted, names, strict=True)}
    for tensor, name in zip(wanted, names, strict=True):
        _check_form(tensor, name, inputs[tensor.name])
    counts = {name: len(arrays[name]) for name in names}
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise BadRequest(f"validation: inputs differ in their samples: {each}: {_FIX} with one row for each")
    count = next(iter(counts.values()))
    metric, labels = metric.read(arrays, count)
    if count < LEAST:
        raise BadRequest(f"validation: {count} samples are too few: give at least {LEAST}")
    for name in names:
        if arrays[name].dtype.kind == "f" and not np.isfinite(arrays[name]).all():
            raise BadRequest(
                f"validation: some values of {name} are not finite numbers: leave those samples out"
            )
    return ValidationData(inputs, labels, metric)


def _names(wanted: Sequence[Tensor], arrays: Mapping[str, Array], metric: AccuracyMetric) -> list[str]:
    """The array of each input: `inputs` if there is one input, else by the name of the input.

    An input that has the name of an array of the metric has `inputs.` in front of it.
    """
    held = ", ".join(arrays) or "nothing"
    if len(wanted) == 1:
        if _INPUTS not in arrays:
            raise BadRequest(f"validation: inputs are missing, the file has {held}: {_FIX}")
        return [_INPUTS]
    names = [f"{_INPUTS}.{t.name}" if t.name in metric.arrays else t.name for t in wanted]
    fix = f"write it by numpy.savez(file, **arrays) with an array for each input: {', '.join(names)}"
    if missing := [name for name in names if name not in arrays]:
        raise BadRequest(
            f"validation: arrays are missing for the inputs {', '.join(missing)}, the file has {held}: {fix}"
        )
    if unknown := [name for name in arrays if name not in {*names, *metric.arrays}]:
        of_metric = ", ".join(metric.arrays) or "none"
        raise BadRequest(
            f"validation: {', '.join(unknown)} is neither an input of the model nor an array of metric "
            f"{metric.name} ({of_metric}): {fix}"
        )
    return names


def _check_form(wanted: Tensor, name: str, inputs: Array) -> None:
    if wanted.shape[:1] not in ((-1,), (1,)):
        raise BadRequest(
            f"validation: input {wanted.name} has no batch dimension ({list(wanted.shape)}), and accuracies "
            "are measured on models whose inputs have an open batch, or one of 1: remove "
            "spec.model.validation"
        )
    # A model whose batch is 1 runs on one sample after the other.
    one = wanted.shape[:1] == (1,) and len(inputs.shape) > 0
    if inputs.dtype != NUMPY_TYPES[wanted.datatype] or not wanted.fits(
        (1, *inputs.shape[1:]) if one else inputs.shape
    ):
        raise BadRequest(
            f"validation: {name} are {inputs.dtype} {list(inputs.shape)}, but the model takes "
            f"{wanted.name} {wanted.datatype} {list(wanted.shape)}: {_FIX} as the model takes them"
        )


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
