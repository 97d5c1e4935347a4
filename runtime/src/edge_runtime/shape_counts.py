"""Shapes of a service's requests, for its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final

from edge_planning.request_shapes import ShapeCounts
from edge_runtime.routing.shaped_tables import is_open, request_shape
from edge_runtime.tensors import Array, Tensor

EVERY: Final = 60.0
"""Seconds between two reports of changed counts; the first follows the first request."""


class RequestShapes:
    """Counts the requests of a model with open dimensions by their shape."""

    def __init__(self) -> None:
        self._model, self._counts = "", ShapeCounts()
        self._reported, self._report = -inf, list[dict[str, Any]]()

    def add(self, model: str, inputs: Sequence[Tensor], arrays: Mapping[str, Array]) -> None:
        """Counts a request. Drops the counts of another model.

        Counts nothing without open dimensions, nor a request that does not tell the shape of one row.
        """
        if model != self._model:
            self._model, self._counts = model, ShapeCounts()
            self._reported, self._report = -inf, []
        if is_open(inputs) and (shape := request_shape(inputs, arrays)) is not None:
            self._counts.add(shape)

    def report(self, now: float) -> list[dict[str, Any]]:
        """The counts as the status writes them; the same until EVERY seconds have passed."""
        if not self._report or now - self._reported >= EVERY:
            self._reported = now
            self._report = [
                {
                    "inputs": [{"name": name, "shape": list(shape)} for name, shape in found.inputs],
                    "count": count,
                }
                for found, count in self._counts.counts().items()
            ]
        return self._report
