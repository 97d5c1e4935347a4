"""Producers and readers of tensors as arrays: built once per model, used for every bandwidth."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_planning.errors import require
from edge_planning.graphs.cuts import Outputs, named
from edge_planning.graphs.values import Graph
from edge_planning.partitioning.blocks import Blocks, blocks_of
from edge_planning.partitioning.windows import Windows, windows_of

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Layers by number, and the tensors that some layer reads or that are results.

    Attributes:
        tensors: Names.
        size: Bytes [tensors].
        producer: The layer that produces a tensor, -1 for an input [tensors].
        tensor_of, reader: One entry per (tensor, layer that reads it).
        results: Tensors that are outputs.
        blocks, windows: Derived from the others, once.
    """

    layers: tuple[str, ...]
    tensors: tuple[str, ...]
    size: NDArray[np.float64]
    producer: Ints
    tensor_of: Ints
    reader: Ints
    results: Ints
    blocks: Blocks = field(init=False, repr=False)
    windows: Windows = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require(bool(self.layers), "structure: no layers")
        require(
            bool(np.all(np.isfinite(self.size) & (self.size >= 0))),
            "structure: size of a tensor must be finite and >= 0",
        )
        made = self.producer[self.tensor_of]
        for pair in np.flatnonzero(made >= self.reader)[:1]:
            require(
                False,
                f"{self.tensors[self.tensor_of[pair]]} is read by layer {self.layers[self.reader[pair]]} "
                "before it is produced: a cycle, or layers out of order",
            )
        blocks = blocks_of(len(self.layers), self.size, self.producer, self.tensor_of, self.reader)
        object.__setattr__(self, "blocks", blocks)
        windows = windows_of(blocks, self.size, self.producer, self.tensor_of, self.reader)
        object.__setattr__(self, "windows", windows)


def structure_of(
    graph: Graph, layers: tuple[int, ...] | None = None, outputs: Outputs | None = None
) -> Structure:
    """Returns the structure of a graph, or of some of its layers (by number, in order) and some outputs."""
    numbers = tuple(range(len(graph.layers))) if layers is None else layers
    maker = {name: v for v, number in enumerate(numbers) for name in graph.layers[number].outputs}
    results = graph.outputs if outputs is None else named(outputs)
    tensors: dict[str, int] = {}
    pairs: list[tuple[int, int]] = []
    known = set(graph.inputs) | maker.keys()
    for v, number in enumerate(numbers):
        for name in dict.fromkeys(graph.layers[number].inputs):
            require(
                layers is not None or name in known, f"{graph.layers[number].name}: no layer produces {name}"
            )
            if name in known:
                pairs.append((tensors.setdefault(name, len(tensors)), v))
    for name in results:
        require(name in known, f"graph {graph.name}: no layer produces the output {name}")
        tensors.setdefault(name, len(tensors))
    links = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Structure(
        tuple(graph.layers[number].name for number in numbers),
        tuple(tensors),
        np.array([graph.tensors[name].size for name in tensors], dtype=float),
        np.array([maker.get(name, -1) for name in tensors], dtype=np.int64),
        links[:, 0],
        links[:, 1],
        np.array([tensors[name] for name in results], dtype=np.int64),
    )
