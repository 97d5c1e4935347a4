"""A validated inference request, as the transports read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_runtime.protocol.parameters import NO_PARAMETERS, RequestParameters
from edge_runtime.requests import InferenceRequest
from edge_runtime.shared_memory.regions import Slot
from edge_runtime.tensors import Array


# One is made for each request, and making a frozen one takes longer.
@dataclass(slots=True)
class DecodedRequest:
    """A decoded request.

    inputs: validated arrays by name.
    outputs: names of the requested outputs, each with whether it is sent as raw bytes; all of the model's if
      the client names none.
    named: whether the client names them.
    classes: the number of classes of outputs that are requested as such, by name.
    slots: where in shared memory the client wants outputs, by name.
    shared: whether inputs are in shared memory, where the client may change them.
    """

    inputs: Mapping[str, Array]
    outputs: Sequence[tuple[str, bool]]
    id: str = ""
    parameters: RequestParameters = NO_PARAMETERS
    named: bool = True
    classes: Mapping[str, int] = field(default_factory=dict)
    slots: Mapping[str, Slot] = field(default_factory=dict)
    shared: bool = False

    @property
    def wanted(self) -> Sequence[str]:
        """The outputs that the client names; empty for all."""
        return [name for name, _ in self.outputs] if self.named else ()

    def inference(self, within: float | None) -> InferenceRequest:
        """The request to the model, within the given seconds."""
        given = self.parameters
        return InferenceRequest(
            self.inputs,
            self.wanted,
            within,
            given.stream,
            given.priority,
            starts=given.starts,
            ends=given.ends,
            reusable=not self.shared,
        )
