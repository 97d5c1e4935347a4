"""An inference request, whatever transport it arrived by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge_planning.routing.batches import DEFAULT_PRIORITY
from edge_runtime.tensors import Array

MOST_WAITING: Final = 256
"""Requests of one service that can wait for a response."""


# One is made for each request, and making a frozen one takes longer.
@dataclass(slots=True)
class InferenceRequest:
    """Validated inputs by name, and the names of the requested outputs.

    outputs: empty for all that the model has, or the exit that responds.
    within: the client's timeout in seconds; None without one.
    stream: the sequence that the request belongs to; empty for none.
    starts, ends: whether it is the first or the last request of the sequence.
    priority: 1 for the first turn among the service's requests that wait, larger numbers for later ones.
    reusable: whether its response may be a reused one and be reused; not if clients can change the inputs.
    since: when the timeout began, by the backend's clock; None: when the backend receives the request.
    """

    inputs: Mapping[str, Array]
    outputs: Sequence[str]
    within: float | None = None
    stream: str = ""
    priority: int = DEFAULT_PRIORITY
    since: float | None = None
    starts: bool = False
    ends: bool = False
    reusable: bool = True
