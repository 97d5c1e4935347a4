"""Tensors that contain a model's input unchanged, moved, cast or scaled: sending one sends the input."""

from collections.abc import Collection, Iterable
from typing import Final

MOVES: Final = frozenset(
    [
        "cast", "castlike", "depthtospace", "dropout", "expand", "flatten", "identity", "pad", "reshape",
        "slice", "spacetodepth", "split", "squeeze", "tile", "transpose", "unsqueeze",
        "dequantizelinear", "dynamicquantizelinear", "quantizelinear",
    ]
)  # fmt: skip
"""Operators that move or encode the values of their first input."""
SCALES: Final = frozenset(["add", "batchnormalization", "div", "mul", "neg", "sub"])
"""Operators that can be undone if their other inputs are constants: the usual normalization of images."""

Operator = tuple[str, Collection[str], Collection[str]]
"""Its type in lower case, the activations that it reads (no constants), and its outputs."""


def input_copies(inputs: Iterable[str], operators: Iterable[Operator]) -> frozenset[str]:
    """Returns the inputs and the tensors that are only copies of inputs. operators: in topological order.

    A concatenation is a copy if one of its parts is. Operators with subgraphs are not looked into.
    """
    copies = set(inputs)
    for kind, reads, outputs in operators:
        copied = [name in copies for name in reads]
        if (
            (kind in MOVES and copied[:1] == [True])
            or (kind == "concat" and any(copied))
            or (kind in SCALES and copied and all(copied))
        ):
            copies.update(outputs)
    return frozenset(copies)
