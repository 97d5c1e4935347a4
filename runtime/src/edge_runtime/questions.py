"""What a request asks for, by whichever transport it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_runtime.tensors import Array


@dataclass(frozen=True, slots=True)
class Question:
    """Checked inputs by name, and the names of the outputs that are wanted.

    within: seconds that the caller gives the answer; None when it does not say.
    stream: the sequence that the caller says this is part of; empty for none.
    since: when that time began, by the clock of what answers; None for the moment at which it is asked.
    """

    inputs: Mapping[str, Array]
    outputs: Sequence[str]
    within: float | None = None
    stream: str = ""
    since: float | None = None
