"""The file of samples of a model in the store, and the shapes of its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.errors import BadRequest, BadSamples
from edge_runtime.samples.flags import Given
from edge_runtime.samples.making import make
from edge_runtime.samples.reading import plain
from edge_runtime.slicing import Graph


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a file of samples tells.

    shapes: of each input that it has samples of. first: an .npz file with one sample of all inputs, on which
    runtimes warm the model up.
    """

    shapes: dict[str, tuple[int, ...]]
    first: bytes


def sampled(graph: Graph, path: Path) -> Sampled:
    """Reads the file at `path`. Raises BadSamples with what is wrong with it."""
    tensors = [graph.tensor(name) for name in graph.inputs]
    try:
        samples = make(tensors, graph.dimensions, Given(samples=path))
    except BadRequest as error:
        said = str(error).replace(f"--samples {path}: ", "")
        raise BadSamples(f"model.samples: {said}") from error
    shapes = {
        name: array.shape
        for name, array in samples.feeds[0].items()
        if samples.values[name] == "samples" and _is_known(samples.sizes()[name])
    }
    target, arrays = BytesIO(), dict[str, Any]()
    arrays |= {name: plain(array) for name, array in samples.feeds[0].items()}
    np.savez(target, **arrays)
    return Sampled(shapes, target.getvalue())


def _is_known(shape: tuple[int, ...]) -> bool:
    """Whether no size is assumed but that of the batch."""
    return min(shape[1:], default=0) >= 0
