"""Packed weights: in the layout that operators read fastest, for which a node needs more memory."""

from dataclasses import dataclass
from math import isfinite

from edge_planning.errors import BadProfileError, require


@dataclass(frozen=True, slots=True)
class Packing:
    """A model on a device class with its weights packed and not packed, as measured.

    Attributes:
        slowdown: Compute time without packing, relative to that with it; at least 1.
        packed, unpacked: Bytes of memory for each byte of a slice's file.
    """

    slowdown: float
    packed: float
    unpacked: float

    def __post_init__(self) -> None:
        require(
            isfinite(self.slowdown) and self.slowdown >= 1,
            f"packing: slowdown {self.slowdown} must be finite and >= 1",
            BadProfileError,
        )
        for name in ("packed", "unpacked"):
            value = getattr(self, name)
            require(
                isfinite(value) and value > 0,
                f"packing: {name} {value} bytes for each byte must be finite and > 0",
                BadProfileError,
            )

    @property
    def saves(self) -> bool:
        """Whether a node needs less memory if it does not pack."""
        return self.unpacked < self.packed
