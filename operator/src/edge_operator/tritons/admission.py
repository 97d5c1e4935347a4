"""Which tails fit into the memory that a pool declares for a Triton server. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_operator.tritons.tail_models import Backend

OVERHEAD: Mapping[Backend, int] = {"python": 64 << 20, "onnxruntime": 16 << 20}
"""Bytes that a model takes besides its own. The python backend starts a process for each model: with
onnxruntime 1.23 and numpy it has a PSS of 43 MB, to which a session and its arena are added."""
_LISTED = 3
_UNITS = ((1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki"))


@dataclass(frozen=True, slots=True)
class Admission:
    """What to do before tails are loaded.

    unloaded: unused models whose room is needed, in this order. refused: tails that do not fit. free: bytes
    that are left without the unused models and with the tails that fit.
    """

    unloaded: tuple[str, ...]
    refused: tuple[str, ...]
    free: int


def footprint(size: int, backend: Backend) -> int:
    """Returns the bytes of memory that a slice of `size` bytes is counted with."""
    return size + OVERHEAD[backend]


def admission(
    memory: int, wanted: Mapping[str, int], used: Mapping[str, int], unused: Mapping[str, int]
) -> Admission:
    """Returns which tails fit, the smallest first, and which unused models must go for them.

    All by name, with their footprint in bytes. used: by tables, loaded or not. unused: loaded, and unloaded
    only if their room is needed, the largest first. A wanted tail that is also used always fits.
    """
    taken = sum(used.values())
    refused, admitted = [], set(wanted) & set(used)
    for name, size in sorted(wanted.items(), key=lambda item: (item[1], item[0])):
        if name in used:
            continue
        if taken + size > memory:
            refused.append(name)
        else:
            taken += size
            admitted.add(name)
    idle = {name: size for name, size in unused.items() if name not in admitted and name not in used}
    excess, unloaded = taken + sum(idle.values()) - memory, []
    for name, size in sorted(idle.items(), key=lambda item: (-item[1], item[0])):
        if excess <= 0:
            break
        unloaded.append(name)
        excess -= size
    return Admission(tuple(unloaded), tuple(refused), memory - taken)


def full(
    field: str, server: str, memory: int, found: Admission, wanted: Mapping[str, int], used: Mapping[str, int]
) -> str:
    """Returns what is loaded, what the refused tails need, and what would make room.

    field: of the declared memory in the DevicePool. server: its name.
    """
    needed = sum(wanted[name] for name in found.refused)
    largest = sorted(used.items(), key=lambda item: (-item[1], item[0]))[:_LISTED]
    named = f" (the largest: {', '.join(f'{name} {bytes_text(size)}' for name, size in largest)})"
    tails = f"{len(found.refused)} tail{'s' if len(found.refused) > 1 else ''}"
    enough = bytes_text(memory - found.free + needed, up=True)
    return (
        f'{field}: "{bytes_text(memory)}" of {server} leaves {bytes_text(max(0, found.free))}, but {tails} '
        f"of this service need {bytes_text(needed, up=True)}; {len(used)} tails in use take "
        f"{bytes_text(sum(used.values()))}{named if used else ''}: raise it to {enough} if the server has so "
        "much memory, or remove services from it"
    )


def bytes_text(size: int, *, up: bool = False) -> str:
    """Returns bytes with three significant digits, rounded down or up (`1.5Gi`, `64Mi`)."""
    scale, suffix = next(((scale, suffix) for scale, suffix in _UNITS if size >= scale), (1, ""))
    digits = 100 if size < 10 * scale else 10 if size < 100 * scale else 1
    whole = -(-size * digits // scale) if up else size * digits // scale
    return f"{whole / digits:g}{suffix}"
