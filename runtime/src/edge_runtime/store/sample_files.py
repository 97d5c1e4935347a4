"""The file of samples of a model in the store, and the shapes of its inputs."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import BadRequest, BadSamples
from edge_runtime.samples.flags import Given
from edge_runtime.samples.making import make
from edge_runtime.slicing import Graph


def sampled_shapes(graph: Graph, path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each input that the file at `path` has samples of.

    Raises BadSamples with what is wrong with the file.
    """
    tensors = [graph.tensor(name) for name in graph.inputs]
    try:
        samples = make(tensors, graph.dimensions, Given(samples=path))
    except BadRequest as error:
        said = str(error).replace(f"--samples {path}: ", "")
        raise BadSamples(f"model.samples: {said}") from error
    return {
        name: array.shape
        for name, array in samples.feeds[0].items()
        if samples.values[name] == "samples" and _is_known(samples.sizes()[name])
    }


def _is_known(shape: tuple[int, ...]) -> bool:
    """Whether no size is assumed but that of the batch."""
    return min(shape[1:], default=0) >= 0
