"""Cached layouts of request headers, because a client usually sends the same header with every request.

A header describes everything about a request except its values. Once it has been validated against a model's
contract, only the sizes of the raw values of a request with the same header bytes need checking.
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
class HeaderLayout:
    """Content of a validated header.

    inputs: each with its shape, its size in raw bytes, and its name in error messages.
    outputs, named: as in DecodedRequest.
    """

    inputs: Sequence[tuple[Tensor, tuple[int, ...], int, str]]
    outputs: Sequence[tuple[str, bool]]
    id: str = ""
    timeout: float | None = None
    stream: str = ""
    named: bool = True

    def arrays(self, raw: Sequence[bytes | memoryview]) -> dict[str, Array] | None:
        """The inputs over their raw bytes; None if the sizes do not match the header."""
        if len(raw) != len(self.inputs):
            return None
        arrays = {}
        for (tensor, shape, size, where), part in zip(self.inputs, raw, strict=True):
            if len(part) != size:
                return None
            arrays[tensor.name] = from_bytes(tensor, shape, part, where)
        return arrays

    def split(self, raw: memoryview) -> list[memoryview] | None:
        """The raw bytes of each input; None if their total does not match the header."""
        if len(self.inputs) == 1:
            return [raw] if len(raw) == self.inputs[0][2] else None
        parts, at = [], 0
        for _, _, size, _ in self.inputs:
            parts.append(raw[at : at + size])
            at += size
        return parts if at == len(raw) else None


class HeaderCache:
    """Layouts of recently seen headers, for one contract."""

    def __init__(self) -> None:
        self._contract: Contract | None = None
        self._known: dict[bytes, HeaderLayout] = {}

    def find(self, contract: Contract, header: bytes) -> HeaderLayout | None:
        """The layout for these bytes if they were seen under this contract."""
        if contract is not self._contract or (layout := self._known.pop(header, None)) is None:
            return None
        self._known[header] = layout
        return layout

    def keep(self, contract: Contract, header: bytes, layout: HeaderLayout) -> None:
        """Adds a layout, and drops all others if the contract is a new one.

        Evicts the least recently used layout if there are too many, so that headers that are new each time
        (with an id, for example) do not evict those that recur.
        """
        if contract is not self._contract:
            self._contract, self._known = contract, {}
        if len(header) <= _LONGEST:
            self._known[header] = layout
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]


def layout_of(
    arrays: Mapping[str, Array],
    order: Sequence[str],
    contract: Contract,
    *,
    outputs: Sequence[tuple[str, bool]],
    request_id: str,
    timeout: float | None,
    stream: str = "",
    named: bool = True,
) -> HeaderLayout | None:
    """The layout of a fully decoded request; None if a size does not follow from the shape."""
    inputs = []
    for i, name in enumerate(order):
        tensor, shape = contract.inputs_by_name[name], arrays[name].shape
        if tensor.datatype == "BYTES":
            return None
        inputs.append((tensor, shape, prod(shape) * width(tensor.datatype), f"inputs[{i}]"))
    return HeaderLayout(inputs, outputs, request_id, timeout, stream, named)
