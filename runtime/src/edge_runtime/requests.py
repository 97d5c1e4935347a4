"""An inference request, whatever transport it arrived by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_runtime.tensors import Array


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """Validated inputs by name, and the names of the requested outputs.

    outputs: empty for all that the model has, or the exit that responds.
    within: the client's timeout in seconds; None without one.
    stream: the sequence that the request belongs to; empty for none.
    since: when the timeout began, by the backend's clock; None: when the backend receives the request.
    """

    inputs: Mapping[str, Array]
    outputs: Sequence[str]
    within: float | None = None
    stream: str = ""
    since: float | None = None
