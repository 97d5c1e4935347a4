"""A validated inference request, as the transports read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_planning.routing.batches import DEFAULT_PRIORITY
from edge_runtime.tensors import Array


@dataclass(frozen=True, slots=True)
class DecodedRequest:
    """A decoded request.

    inputs: validated arrays by name.
    outputs: names of the requested outputs, each with whether it is sent as raw bytes; all of the model's if
      the client names none.
    named: whether the client names them.
    timeout: the client's timeout in seconds; None without one.
    stream: the sequence that the request is part of; empty for none.
    priority: its place among the requests of its service, from 1.
    classes: the number of classes of outputs that are requested as such, by name.
    """

    inputs: Mapping[str, Array]
    outputs: Sequence[tuple[str, bool]]
    id: str = ""
    timeout: float | None = None
    stream: str = ""
    named: bool = True
    priority: int = DEFAULT_PRIORITY
    classes: Mapping[str, int] = field(default_factory=dict)

    @property
    def wanted(self) -> Sequence[str]:
        """The outputs that the client names; empty for all."""
        return [name for name, _ in self.outputs] if self.named else ()
