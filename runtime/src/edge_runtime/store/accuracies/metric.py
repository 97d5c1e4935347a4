"""What a metric of accuracy is: what it reads from validation data, and its scale from 0 to 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np

from edge_runtime.errors import BadRequest
from edge_runtime.tensors import Array

Outputs = Sequence[Array]
"""The outputs of an exit in its order, [N, ...] each. Rows of different shapes are an object array [N]."""
LABELS: Final = "labels"


class AccuracyMetric(ABC):
    """One metric, for the outputs of N inputs. Every metric is 1 where the outputs are as they should be.

    Attributes:
        name: As in `validation.metric`.
        arrays: Names of the arrays that it reads.
        wanted: The arrays that the validation data needs beside the inputs, as in `... ; write ...`.
        outputs: What the outputs of an exit must be, as in `... is measured for models that give ...`.
    """

    name: ClassVar[str]
    arrays: ClassVar[tuple[str, ...]] = (LABELS,)
    wanted: ClassVar[str]
    outputs: ClassVar[str]

    @abstractmethod
    def read(self, arrays: Mapping[str, Array], count: int) -> tuple[AccuracyMetric, Array | None]:
        """Returns the metric for a file of validation data, and the labels of its `count` inputs.

        The labels are one row for each input, or None if the full model's outputs stand in for them. Raises
        BadRequest with the array, what it is and what is needed.
        """

    @abstractmethod
    def takes(self, outputs: Outputs, labels: Array | None = None) -> bool:
        """Whether the outputs of an exit can be compared, with these labels if given."""

    @abstractmethod
    def accuracy(self, outputs: Outputs, labels: Array) -> float:
        """The accuracy of outputs, from 0 to 1."""

    @abstractmethod
    def agreement(self, outputs: Outputs, others: Outputs) -> float:
        """How far outputs agree with the others, from 0 to 1; 1 if they are equal."""

    def reference(self, outputs: Outputs) -> Array:
        """The full model's outputs as labels, for a metric that reads none."""
        raise NotImplementedError

    def confidences(self, outputs: Outputs) -> Array | None:
        """The confidence of each row, by which inputs leave early; None if the outputs have none."""
        return None

    def refusal(self, name: str, array: Array | None, count: int) -> BadRequest:
        """The error for an array of the validation data that this metric cannot read."""
        found = "missing" if array is None else f"{array.dtype} {list(array.shape)} for {count} inputs"
        return BadRequest(f"validation: {name} are {found}; metric {self.name} needs {self.wanted}")


def ragged(rows: Sequence[object]) -> Array:
    """An object array [N] of rows whose shapes differ."""
    found = np.empty(len(rows), dtype=object)
    for number, row in enumerate(rows):  # an assignment of all would look into rows of one shape
        found[number] = row
    return found


def rows_of(array: Array) -> list[Array]:
    """The rows of an output, each an array."""
    return [np.asarray(row) for row in array]
