"""Which tensors of a model are its state, and how many sequences are kept for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_api.placements import PlacedModel
from edge_api.sequences import Sequences
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor

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


def settings_of(
    model: PlacedModel, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> StateSettings | None:
    """The settings of a placed model with these tensors; None if it has no state.

    Raises ValueError for a pair of tensors that it lacks, and for an initial value that does not fit.
    """
    if not model.state:
        return None
    takes = {tensor.name: tensor for tensor in inputs}
    gives = {tensor.name for tensor in outputs}
    pairs = []
    for pair in model.state:
        tensor = takes.get(pair.input)
        if tensor is None or pair.output not in gives:
            raise ValueError(
                f"model.state: {pair.output} to {pair.input}: the model has the inputs {', '.join(takes)} "
                f"and the outputs {', '.join(gives)}"
            )
        if tensor.datatype == "BYTES" or not tensor.fits(pair.shape):
            raise ValueError(
                f"model.state: {pair.input} has {tensor.datatype}{list(tensor.shape)}, which the shape "
                f"{list(pair.shape)} and the number {pair.initial:g} are not"
            )
        initial = np.full(pair.shape, pair.initial, NUMPY_TYPES[tensor.datatype])
        pairs.append(StatePair(pair.output, pair.input, initial))
    limits = model.sequences or Sequences()
    return StateSettings(model.digest, tuple(pairs), limits.maximum, limits.idle_timeout)
