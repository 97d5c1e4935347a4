"""Tensors of requests that are in shared memory: the parameters that say where."""

from __future__ import annotations

from collections.abc import Callable

from edge_api.words import shown_json
from edge_runtime.errors import BadRequest
from edge_runtime.json_values import Json
from edge_runtime.shared_memory.regions import SharedMemory, Slot

REGION, SIZE, OFFSET = "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"


def slot_of(get: Callable[[str], Json], where: str) -> Slot | None:
    """Where in shared memory an input is, or an output is to be put; None if the parameters do not say it.

    get: returns a parameter of the tensor, None if it is missing. Raises BadRequest.
    """
    region = get(REGION)
    if region is None:
        return None
    if not isinstance(region, str):
        raise BadRequest(f"{where}.parameters.{REGION}: {shown_json(region)} is not the name of a region")
    size, offset = get(SIZE), get(OFFSET)
    for name, value in ((SIZE, size), (OFFSET, 0 if offset is None else offset)):
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise BadRequest(f"{where}.parameters.{name}: {shown_json(value)} is not a number of bytes")
    assert isinstance(size, int)
    return Slot(region, offset if isinstance(offset, int) else 0, size)


def put(slot: Slot, raw: bytes | memoryview, memory: SharedMemory, output: str) -> dict[str, str | int]:
    """Writes an output to its place; returns the parameters that say where it is. Raises BadRequest."""
    memory.write(slot, raw, f"outputs: {output}")
    return {REGION: slot.region, OFFSET: slot.offset, SIZE: len(raw)}
