"""Operators as an inference engine runs them, and the work of each: FLOP, bytes read and written."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, Self

from edge_planning.errors import require

Shape = tuple[int, ...]

WIDTHS: Mapping[str, int] = {
    "double": 8,
    "int64": 8,
    "uint64": 8,
    "float16": 2,
    "bfloat16": 2,
    "int16": 2,
    "uint16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
"""Bytes of an element by onnxruntime's name of a datatype; 4 for all others."""
BLOCKED = ".blocked"
"""Ends the kind of an operator on tensors whose channels are in blocks, as onnxruntime lays them out."""
_PRODUCTS = ("Gemm", "MatMul")
_RECURRENT = ("GRU", "LSTM", "RNN")


@dataclass(frozen=True, slots=True)
class Work:
    """What an operator does for a run.

    Attributes:
        flops: Floating-point operations of its products; a multiply and an add count as two. 0: it has none.
        weights: Bytes of its second operand: filters, or the right matrix of a product.
        read: Bytes of its other inputs.
        written: Bytes of its outputs.
        depth: Products that are added up for an element of the output; the window of a pooling.
        groups: Groups of a convolution, else 1.
        rows: Output elements for each column of weights: pixels of a map, or rows of a matrix.
        steps: Steps one after the other, of a recurrent operator; else 1.
        window: Elements of a filter in one channel; else 1.
    """

    flops: float
    weights: float
    read: float
    written: float
    depth: float
    groups: float
    rows: float
    steps: float
    window: float


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator after graph optimization.

    Attributes:
        kind: Its type, such as `Conv` or `FusedMatMul`, with BLOCKED for the blocked layout.
        datatype: That of its first input, as onnxruntime names it: `float`, `uint8`.
        inputs, outputs: Shapes, weights included.
    """

    kind: str
    datatype: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]

    def document(self) -> dict[str, Any]:
        """Returns it as in a profile of the model store."""
        return {
            "kind": self.kind,
            "datatype": self.datatype,
            "inputs": [list(shape) for shape in self.inputs],
            "outputs": [list(shape) for shape in self.outputs],
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Reads its document; raises BadValueError if it is not one."""
        kind, datatype = document.get("kind"), document.get("datatype")
        require(isinstance(kind, str) and isinstance(datatype, str), f"operator: no kind in {document}")
        return cls(
            str(kind),
            str(datatype),
            tuple(_shape(each) for each in document.get("inputs") or ()),
            tuple(_shape(each) for each in document.get("outputs") or ()),
        )

    @property
    def plain(self) -> str:
        """The kind without the layout."""
        return self.kind.removesuffix(BLOCKED)

    @property
    def work(self) -> Work:
        """What it does for a run, from its shapes."""
        width = WIDTHS.get(self.datatype, 4)
        out = prod(self.outputs[0]) if self.outputs else 0
        second = self._second()
        weights = 0 if second is None else prod(self.inputs[second])
        read = sum(prod(shape) for n, shape in enumerate(self.inputs) if n != second)
        written = sum(map(prod, self.outputs))
        flops, depth, groups, rows, steps = 0.0, 1.0, 1.0, float(out), 1.0
        window = 1.0
        if second is not None:
            a, b = self.inputs[0], self.inputs[second]
            if "Conv" in self.plain:
                window = float(prod(b[2:]))
            if "ConvTranspose" in self.plain:
                depth, rows = float(a[1] if len(a) > 1 else 1), prod(a[2:])
                flops = 2.0 * prod(a) * prod(b[1:])
            elif "Conv" in self.plain:
                depth = float(prod(b[1:]))
                groups = max(1.0, (a[1] if len(a) > 1 else 1) / max(b[1], 1)) if len(b) > 1 else 1.0
                rows, flops = float(prod(self.outputs[0][2:])) if self.outputs else 0.0, 2.0 * out * depth
            elif any(self.plain.endswith(kind) for kind in _RECURRENT):
                steps = float(a[0])
                recurrent = prod(self.inputs[second + 1]) if len(self.inputs) > second + 1 else 0
                weights += recurrent
                read -= recurrent
                rows, depth = float(prod(a[:2])), float(sum(shape[-1] for shape in (a, b)))
                flops = 2.0 * prod(a[:2]) * weights
            elif "Attention" in self.plain:
                depth = float(a[-1])
                rows = float(prod(a[:-1]))
                flops = 2.0 * rows * weights + 4.0 * rows * (a[-2] if len(a) > 1 else 1) * depth
            else:
                # K^2 = |A| |B| / |out| for A [.., M, K], B [K, N] and with a batch as well, if each has it.
                batch = prod(b[:-2]) if len(b) > 2 else 1
                inner = isqrt(max(prod(a) * weights // max(out * batch, 1), 0))
                depth, rows = float(inner or a[-1]), out / max(b[-1], 1)
                flops = 2.0 * out * depth
        elif "Pool" in self.plain and self.inputs and out:
            depth = max(1.0, prod(self.inputs[0]) / out)
        return Work(
            flops, float(weights * width), float(read * width), float(written * width), depth, groups, rows,
            steps, window,
        )  # fmt: skip

    def _second(self) -> int | None:
        """Returns the index of the weights or of the right matrix; None for operators without products."""
        plain = self.plain
        least = 3 if "Conv" in plain else 2
        if not (
            "Conv" in plain
            or "Attention" in plain
            or any(kind in plain for kind in _PRODUCTS)
            or any(plain.endswith(kind) for kind in _RECURRENT)
        ):
            return None
        return next((n for n, shape in enumerate(self.inputs) if n and len(shape) >= least), None)


def _shape(value: object) -> Shape:
    sizes = tuple(value) if isinstance(value, (list, tuple)) else (-1,)
    require(all(isinstance(size, int) and size >= 0 for size in sizes), f"operator: no shape: {value}")
    return sizes
