"""Measures the slices of a model at each shape of its requests, on given, sampled or generated inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from edge_planning.request_shapes import RequestShape
from edge_runtime.errors import BadTensor, InputsRefused, ModelFailed
from edge_runtime.samples.flags import Given
from edge_runtime.samples.making import Dimensions, Samples, make
from edge_runtime.tensors import Array, Tensor

Key = tuple[str, str]


class Run(Protocol):
    """Runs a slice on its samples, in turn."""

    @property
    def response(self) -> int:
        """Bytes of the outputs, as the mean over the samples."""

    def run(self) -> None: ...


Runs = Mapping[Key, Run]
RunsOf = Callable[[Sequence[Mapping[str, Array]]], Runs]
"""Prepares the runs of all slices on samples; raises BadTensor or ModelFailed if the model refuses them."""


@dataclass(frozen=True, slots=True)
class ShapeRuns:
    """The runs of all slices on samples of one shape. shape: None if nothing is open."""

    shape: RequestShape | None
    samples: Samples
    runs: Runs


def runs_at_shapes(
    runs_of: RunsOf,
    inputs: Sequence[Tensor],
    dimensions: Dimensions,
    given: Given,
    *,
    shapes: Sequence[RequestShape] = (),
    ranges: Mapping[str, int] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[ShapeRuns]:
    """Prepares the runs at each of the shapes, from the smallest to the largest; without shapes at one.

    Values that are not given are generated, within `ranges`, or zeros if the model refuses generated ones. A
    shape that the model refuses is left out if it is neither the smallest nor the largest.

    Raises InputsRefused if the model takes neither, and BadRequest for given inputs that do not match it.
    """
    made = [make(inputs, dimensions, given, each) for each in (ranges or {}, None)]
    found: list[ShapeRuns] = []
    for number, shape in enumerate(shapes or (None,)):
        tries = [
            samples if shape is None else samples.at(shape.shapes(), each)
            for samples, each in zip(made, (ranges or {}, None), strict=True)
        ]
        try:
            found.append(_first_that_runs(partial(ShapeRuns, shape), runs_of, tries))
        except InputsRefused as error:
            if number in (0, len(shapes) - 1):
                raise
            progress(f"{shape} is left out: {error}")
    return found


def _first_that_runs(
    prepared: Callable[[Samples, Runs], ShapeRuns], runs_of: RunsOf, tries: Sequence[Samples]
) -> ShapeRuns:
    refused = ""
    for samples in tries if tries[0].made else tries[:1]:
        try:
            return prepared(samples, runs_of(samples.feeds))
        except (BadTensor, ModelFailed) as error:
            refused = refused or f"{error}"
    kinds = "generated values and zeros" if tries[0].made else "the given inputs"
    raise InputsRefused(f"the model refuses {kinds} ({refused}): {tries[0].advice()}")
