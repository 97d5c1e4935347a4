"""What a tensor is to this program: its name, its Open Inference Protocol datatype and its shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

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
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
DATATYPES: Final[Mapping[np.dtype[Any], str]] = {dtype: name for name, dtype in NUMPY_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Tensor:
    """The contract of one tensor: shape -1 stands for the batch."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Tensor:
        """From `{"name", "datatype", "shape"}`."""
        return cls(str(document["name"]), str(document["datatype"]), tuple(int(d) for d in document["shape"]))

    def document(self) -> dict[str, Any]:
        """As JSON writes it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def item_bytes(self) -> int:
        """Bytes of this tensor at batch 1."""
        return prod(max(d, 1) for d in self.shape) * NUMPY_TYPES[self.datatype].itemsize

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a concrete shape is one of this tensor's."""
        return len(shape) == len(self.shape) and all(
            d == want if want >= 0 else d >= 1 for d, want in zip(shape, self.shape, strict=True)
        )
