"""A network as its file states it, in plain values: what onnx_reading hands to assembling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    """What is known of a tensor: None is a dimension, a rank or a width that is not.

    bits: of one element; None for what has no fixed width (strings, sequences).
    """

    shape: tuple[int | None, ...] | None
    bits: int | None

    @property
    def known(self) -> bool:
        """Whether its size in bytes is."""
        return self.shape is not None and self.bits is not None and None not in self.shape

    def counted_shape(self) -> tuple[int, ...]:
        """The shape with 1 for each open dimension."""
        return tuple(1 if size is None else size for size in self.shape or ())

    def size(self) -> int:
        """Bytes, with 1 for each open dimension, and for an element that has no fixed width."""
        return (prod(self.counted_shape()) * (self.bits or 8) + 7) // 8


UNKNOWN = TensorType(None, None)


@dataclass(frozen=True, slots=True)
class Operation:
    """A node of the file.

    operator: its type, with the domain before it where that is not ONNX's own. inputs: "" for one left out.
    captured: tensors that its sub-graphs read from outside. inner_parameters: bytes of weights in those.
    obstacle: why it cannot be looked into; "" where it can.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    captured: tuple[str, ...] = ()
    inner_parameters: int = 0
    obstacle: str = ""

    def reads(self) -> tuple[str, ...]:
        """Every tensor it needs, once."""
        return tuple(dict.fromkeys(name for name in (*self.inputs, *self.captured) if name))


@dataclass(frozen=True, slots=True)
class Network:
    """operations: in topological order. constants: tensors with values in the file. types: by tensor.

    crossing: tensors that can be sent from one place to another.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    constants: frozenset[str]
    types: Mapping[str, TensorType]
    warnings: tuple[str, ...] = ()
    crossing: frozenset[str] = frozenset()

    def type_of(self, tensor: str) -> TensorType:
        """UNKNOWN where nothing is said."""
        return self.types.get(tensor, UNKNOWN)
