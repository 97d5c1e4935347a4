"""Open dimensions of a model's inputs fixed, so that what follows from them is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_runtime.slicing.reading import parse


def with_sizes(data: bytes, shapes: Mapping[str, Sequence[int]]) -> bytes:
    """The model with the sizes that `shapes` gives to its inputs, where they leave one open.

    The first dimension, the batch, stays open, and so does what has the size -1. Raises NotOnnx.
    """
    model = parse(data)
    changed = False
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for axis, (dim, size) in enumerate(zip(dims, shapes.get(value.name, ()), strict=False)):
            if axis and size >= 0 and (not dim.HasField("dim_value") or dim.dim_value < 0):
                dim.dim_value = size
                changed = True
    return model.SerializeToString() if changed else data
