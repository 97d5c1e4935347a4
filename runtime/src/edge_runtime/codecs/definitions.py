"""What a codec is: everything that slicing, the store and the data plane need to know about one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

import numpy as np

from edge_runtime.codecs.operators import LEAST_OPSET, CodecOperator
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor

_FLOATING: Final = ("FP32", "FP16", "FP64")
_MIN_RANK: Final = 2


class Codec(ABC):
    """The encoding of one tensor on a hop.

    An item of the batch is encoded to the same values in any batch. A codec that cannot carry
    an item marks it by a value that is not finite in an FP32 tensor named `scale_name(wire)`.

    Attributes:
        name: In Placements, ModelProfiles and names of routes: lower-case letters, digits and hyphens.
        form: Increase it when the operators change: cached slices and measurements are then discarded.
        least_opset: Opset that the operators need.
        largest: Largest absolute value that is carried.
    """

    name: ClassVar[str]
    form: ClassVar[int] = 2
    least_opset: ClassVar[int] = LEAST_OPSET
    largest: ClassVar[float] = float(np.finfo(np.float32).max)

    def encodes(self, tensor: Tensor) -> bool:
        """Whether a tensor is changed; others cross the hop as they are."""
        return tensor.datatype in _FLOATING and len(tensor.shape) >= _MIN_RANK and 0 not in tensor.shape

    @abstractmethod
    def wire(self, tensor: Tensor, name: str) -> Iterator[Tensor]:
        """Yields the tensors on the hop; their names are `name`, or `name`, a dot and more."""

    @abstractmethod
    def encoder(self, tensor: Tensor, value: str, name: str, opset: int) -> Iterator[CodecOperator]:
        """Yields the operators that make the tensors on the hop from `value`."""

    @abstractmethod
    def decoder(self, tensor: Tensor, name: str) -> Iterator[CodecOperator]:
        """Yields the operators that make the tensor again; the output of the last one has its values."""

    @abstractmethod
    def decoded(self, tensor: Tensor, wire: Sequence[Array]) -> Array:
        """Returns what the decoder gives, computed by NumPy."""


def scale_name(wire: str) -> str:
    """Returns the name of a tensor's scales on a hop."""
    return f"{wire}.scale"


def number_of(tensor: Tensor) -> np.dtype[np.generic]:
    """Returns the NumPy type of a tensor."""
    found: np.dtype[np.generic] = NUMPY_TYPES[tensor.datatype]
    return found
