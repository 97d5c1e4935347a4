"""A model as declared in its file, in plain values: the result of onnx_reading, the input of assembling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    """The known type of a tensor; None for an unknown dimension, rank or width.

    Attributes:
        bits: Of one element; None for types without a fixed width (strings, sequences).
    """

    shape: tuple[int | None, ...] | None
    bits: int | None

    @property
    def known(self) -> bool:
        """Whether its size in bytes is known."""
        return self.shape is not None and self.bits is not None and None not in self.shape

    def counted_shape(self) -> tuple[int, ...]:
        """Returns the shape with 1 for each unknown dimension."""
        return tuple(1 if size is None else size for size in self.shape or ())

    def size(self) -> int:
        """Returns the bytes, with 1 for each unknown dimension and for an element without a fixed width."""
        return (prod(self.counted_shape()) * (self.bits or 8) + 7) // 8


UNKNOWN = TensorType(None, None)


@dataclass(frozen=True, slots=True)
class Operation:
    """A node of the file.

    Attributes:
        operator: Its type, prefixed with its domain unless that is ONNX's own.
        inputs: Names; "" for an omitted input.
        captured: Tensors that its subgraphs read from outside.
        inner_parameters: Bytes of weights in the subgraphs.
        obstacle: Why it cannot be analyzed; "" if it can.
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
        """Returns every tensor that it reads, once."""
        return tuple(dict.fromkeys(name for name in (*self.inputs, *self.captured) if name))


@dataclass(frozen=True, slots=True)
class OperationGraph:
    """The operations of a file.

    Attributes:
        operations: In topological order.
        constants: Tensors whose values are in the file.
        types: By tensor.
        crossing: Tensors that can be sent between places.
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
        """Returns the type of a tensor, or UNKNOWN if it has none."""
        return self.types.get(tensor, UNKNOWN)
