"""A tensor's name, Open Inference Protocol datatype and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# NumPy has no BF16, so its bits are kept as 16-bit integers. BYTES are object arrays of str.
NUMPY_TYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "BF16": np.dtype(np.uint16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
_WORD: Final = 4  # bytes of the length in front of each BYTES element on the wire


@dataclass(frozen=True, slots=True)
class Tensor:
    """The contract of one tensor. Shape -1 is the batch or any other open size, which can be 0.

    any_rank: whether the model leaves the number of dimensions open; the shape is ignored then.
    batched: whether an open first dimension is the batch, one row for each row of a request. False if that
      is not known, as for detected boxes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    any_rank: bool = False
    batched: bool = True

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Tensor:
        """Reads `{"name", "datatype", "shape", "batched"?}`."""
        shape = tuple(int(d) for d in document["shape"])
        batched = document.get("batched") is not False
        return cls(str(document["name"]), str(document["datatype"]), shape, batched=batched)

    def metadata(self) -> dict[str, Any]:
        """The tensor in the form of the Open Inference Protocol."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def document(self) -> dict[str, Any]:
        """The tensor in the form of the model store and of a Placement."""
        known = self.has_batch or self.shape[:1] != (-1,)
        return self.metadata() | ({} if known else {"batched": False})

    @property
    def has_batch(self) -> bool:
        """Whether the first dimension is the batch."""
        return self.batched and self.shape[:1] == (-1,)

    def item_bytes(self) -> int:
        """Bytes of this tensor at batch 1; the minimum for BYTES."""
        return prod(1 if d < 0 else d for d in self.shape) * width(self.datatype)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a concrete shape matches; a batch has at least one row."""
        if any(d < 0 for d in shape) or (shape[:1] == (0,) and self.batched and self.shape[:1] != (0,)):
            return False
        return self.any_rank or (
            len(shape) == len(self.shape)
            and all(d == want or want < 0 for d, want in zip(shape, self.shape, strict=True))
        )


class Contract:
    """Inputs and outputs of a model, in the model's order and by name.

    outputs_by_name: all outputs that can be requested, also those that only some exits have.
    """

    __slots__ = ("inputs", "inputs_by_name", "outputs", "outputs_by_name")

    def __init__(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], of_exits: Sequence[Tensor] = ()
    ) -> None:
        """of_exits: outputs that are not the model's, but those of an exit with names of its own."""
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.inputs_by_name = {t.name: t for t in self.inputs}
        self.outputs_by_name = {t.name: t for t in (*of_exits, *self.outputs)}


def width(datatype: str) -> int:
    """Bytes of one value on the wire; for BYTES, of an empty one."""
    return _WORD if datatype == "BYTES" else NUMPY_TYPES[datatype].itemsize


def rows(tensors: Sequence[Tensor], arrays: Sequence[Array]) -> int | None:
    """The batch size on which all batched tensors agree; None if they do not, or none is batched."""
    found = {array.shape[0] for t, array in zip(tensors, arrays, strict=True) if t.has_batch}
    return found.pop() if len(found) == 1 else None


def size_of(tensor: Tensor, array: Array) -> int:
    """Bytes of an array of a tensor on the wire."""
    if tensor.datatype != "BYTES":
        return array.nbytes
    return sum(_WORD + len(str(word).encode()) for word in array.ravel())


def zeros(tensors: Sequence[Tensor]) -> dict[str, Array]:
    """Arrays of zeros, False or empty strings, with size 1 for every open dimension."""
    return {
        t.name: np.full(
            [1 if d < 0 else d for d in t.shape],
            "" if t.datatype == "BYTES" else 0,
            dtype=NUMPY_TYPES[t.datatype],
        )
        for t in tensors
    }
