"""Which tensors of a model are its state, and how many sequences are kept for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_runtime.tensors import Array

MOST: Final = 128
"""Sequences that are kept at once by default."""
IDLE: Final = 30.0
"""Seconds without a request after which a sequence has expired by default."""


@dataclass(frozen=True, slots=True)
class StatePair:
    """An output of which the value is the input of the sequence's next request.

    initial: value of the input for the first request of a sequence.
    """

    output: str
    input: str
    initial: Array


@dataclass(frozen=True, slots=True)
class StateSettings:
    """The state of a model.

    model: digest of the model; the states of another one are dropped.
    most: sequences that are kept at once. idle: seconds without a request after which one has expired.
    """

    model: str
    pairs: tuple[StatePair, ...]
    most: int = MOST
    idle: float = IDLE
