"""What onnxruntime itself gives for a file, and when a response equals it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from benchmarks.models.inputs import Array, Feeds

TOLERANCE: Final = 1e-3
"""Largest difference of a float, as a share of the largest absolute value of its tensor, at least of 1."""
_DTYPES: Final[Mapping[str, npt.DTypeLike]] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int8)": np.int8, "tensor(int16)": np.int16, "tensor(int32)": np.int32, "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_, "tensor(string)": np.object_,
}  # fmt: skip


class Truth:
    """A session of onnxruntime over the whole file, with its default settings and one thread."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @property
    def dtypes(self) -> dict[str, npt.DTypeLike]:
        """Of the inputs, by name."""
        return {each.name: _DTYPES[each.type] for each in self._session.get_inputs()}

    @property
    def outputs(self) -> list[str]:
        """The outputs that can be sent: all but sequences and maps."""
        return [each.name for each in self._session.get_outputs() if each.type.startswith("tensor(")]

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Returns the outputs by name."""
        found = self._session.run(self.outputs, feeds)
        return dict(zip(self.outputs, map(np.asarray, found), strict=True))


def difference(wanted: Mapping[str, Array], found: Mapping[str, Array]) -> str:
    """Returns what differs; empty if the tensors are equal within TOLERANCE."""
    if missing := sorted(wanted.keys() - found.keys()):
        return f"no {', '.join(missing)}"
    return "; ".join(said for name in wanted if (said := _difference(name, wanted[name], found[name])))


def _difference(name: str, wanted: Array, found: Array) -> str:
    if wanted.shape != found.shape:
        return f"{name}: shape {list(found.shape)}, not {list(wanted.shape)}"
    if wanted.dtype.kind == "O":
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in found.ravel()]
        return "" if texts == list(map(str, wanted.ravel())) else f"{name}: other texts"
    if wanted.dtype != found.dtype:
        return f"{name}: {found.dtype}, not {wanted.dtype}"
    if wanted.dtype.kind != "f":
        return (
            "" if np.array_equal(wanted, found) else f"{name}: {int(np.sum(wanted != found))} values differ"
        )
    if not wanted.size or np.array_equal(wanted, found, equal_nan=True):
        return ""
    if not np.array_equal(np.isfinite(wanted), np.isfinite(found)):
        return f"{name}: other values are not finite"
    finite = np.isfinite(wanted)
    first, second = wanted[finite].astype(np.float64), found[finite].astype(np.float64)
    off = float(np.abs(first - second).max(initial=0.0)) / max(1.0, float(np.abs(first).max(initial=0.0)))
    return "" if off <= TOLERANCE else f"{name}: off by {off:.2g}"
