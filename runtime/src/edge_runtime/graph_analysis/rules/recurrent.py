"""Recurrent layers over independent sequences."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.graph_analysis.rules.registry import Result, Step, rule
from edge_runtime.graph_analysis.sizes import Size
from edge_runtime.graph_analysis.values import Mixes


@rule("GRU", "LSTM", "RNN")
def recurrent(step: Step) -> Sequence[Result]:
    """[sequence, rows, features], with states of [directions, rows, features]."""
    value = step.value()
    if step.attribute("layout", 0):
        raise Mixes("its layout is not supported")
    if value.axis not in (None, 1):
        raise Mixes("iterates along the rows")
    for index, given in enumerate(step.inputs[1:], 1):
        if given is None:
            continue
        if index == 4:
            raise Mixes("its sequences have several lengths")
        state = index in (5, 6)
        if state and (given.axis, given.shape[1]) != (value.axis, value.shape[1]):
            raise Mixes("its states do not belong to its rows")
        if not state and not given.common:
            raise Mixes("its weights depend on the request")
    length, rows, _ = value.shape
    hidden = step.attribute("hidden_size")
    wide = Size(hidden) if hidden is not None else step.unknowns.fresh()
    directions = Size(2 if step.attribute("direction", "forward") == "bidirectional" else 1)
    last = value.shaped((directions, rows, wide), value.axis)
    axis = None if value.axis is None else 2
    return [value.shaped((length, directions, rows, wide), axis), last, last]
