"""How to read requests whose header was seen before: the same caller sends the same header again and again.

A header says everything about a request but its values. Once it has been checked against a model's contract,
a request with the same header bytes only needs its raw bytes counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

from edge_runtime.protocol.contents import from_bytes
from edge_runtime.tensors import Array, Contract, Tensor, width

_MOST: Final = 256
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked header.

    inputs: each with its shape, its size in raw bytes, and its name in an error's sentence.
    outputs: as in DecodedRequest.
    """

    inputs: Sequence[tuple[Tensor, tuple[int, ...], int, str]]
    outputs: Sequence[tuple[str, bool]]
    id: str = ""
    timeout: float | None = None
    stream: str = ""

    def arrays(self, raw: Sequence[bytes | memoryview]) -> dict[str, Array] | None:
        """The inputs over their raw bytes; None when the sizes are not the header's."""
        if len(raw) != len(self.inputs):
            return None
        arrays = {}
        for (tensor, shape, size, where), part in zip(self.inputs, raw, strict=True):
            if len(part) != size:
                return None
            arrays[tensor.name] = from_bytes(tensor, shape, part, where)
        return arrays

    def split(self, raw: memoryview) -> list[memoryview] | None:
        """The raw bytes of each input; None when there are more or less than the header's."""
        if len(self.inputs) == 1:
            return [raw] if len(raw) == self.inputs[0][2] else None
        parts, at = [], 0
        for _, _, size, _ in self.inputs:
            parts.append(raw[at : at + size])
            at += size
        return parts if at == len(raw) else None


class Plans:
    """The plans of the headers that were seen lately, for one contract."""

    def __init__(self) -> None:
        self._contract: Contract | None = None
        self._known: dict[bytes, Plan] = {}

    def find(self, contract: Contract, header: bytes) -> Plan | None:
        """The plan for these bytes, when they were seen under this very contract."""
        if contract is not self._contract or (plan := self._known.pop(header, None)) is None:
            return None
        self._known[header] = plan
        return plan

    def keep(self, contract: Contract, header: bytes, plan: Plan) -> None:
        """One more plan; all others are forgotten when the contract is a new one.

        When there are too many, the one that was not asked for the longest goes: headers that are new each
        time (by an id, say) do not drive out those that come again.
        """
        if contract is not self._contract:
            self._contract, self._known = contract, {}
        if len(header) <= _LONGEST:
            self._known[header] = plan
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]


def plan_of(
    arrays: Mapping[str, Array],
    order: Sequence[str],
    contract: Contract,
    outputs: Sequence[tuple[str, bool]],
    request_id: str,
    timeout: float | None,
    stream: str = "",
) -> Plan | None:
    """The plan of a request that was read in full; None where a size does not follow from the shape."""
    inputs = []
    for i, name in enumerate(order):
        tensor, shape = contract.inputs_by_name[name], arrays[name].shape
        if tensor.datatype == "BYTES":
            return None
        inputs.append((tensor, shape, prod(shape) * width(tensor.datatype), f"inputs[{i}]"))
    return Plan(inputs, outputs, request_id, timeout, stream)
