"""Metadata of a model: what the planner needs to choose an exit and a cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from edge_api.words import shown
from edge_planning.declared_exits import (
    EXITS_KEY,
    BadAccuracyError,
    BadExitError,
    DeclaredExit,
    UnknownOutputError,
    check_exits,
    parse_exits,
)
from edge_runtime.errors import BadAccuracy, BadRequest, EdgeError, NoExits, UnknownOutput
from edge_runtime.graph_analysis.analysis import unrepeatable
from edge_runtime.graph_analysis.index_ranges import index_ranges
from edge_runtime.model_shapes import ModelShapes, ShapedCut, shapes_of
from edge_runtime.slicing import Cut, Graph
from edge_runtime.tensors import Tensor

_ERRORS: Mapping[type[BadExitError], type[EdgeError]] = {
    BadAccuracyError: BadAccuracy,
    UnknownOutputError: UnknownOutput,
}
MOST_TENSORS = 4
"""Maximum tensors of a cut in the metadata; each more would need another round of slices to profile."""


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model's input, its exits with their cuts, and the segments between adjacent cuts.

    input_copies: tensors that are only copies of the input.
    unrepeatable: why the same inputs may give other outputs next time; empty if they are known not to.
    index_ranges: number of values that an input can have which is an index, by input.
    """

    digest: str
    size: int
    input: Tensor
    exits: tuple[tuple[DeclaredExit, Tensor, tuple[ShapedCut, ...]], ...]
    input_copies: tuple[str, ...]
    unrepeatable: str
    shapes: ModelShapes = field(default_factory=ModelShapes)
    index_ranges: Mapping[str, int] = field(default_factory=dict)

    def segments(self) -> list[tuple[str, str]]:
        """Every (from, to) between adjacent cuts of an exit, or its last cut and its output, once."""
        found: dict[tuple[str, str], None] = {}
        for exit_, _, cuts in self.exits:
            names = [c.cut.tensor for c in cuts] + [exit_.output]
            found.update(dict.fromkeys(pairwise(names)))
        return list(found)

    def document(self) -> dict[str, Any]:
        """The metadata as JSON, the response of the model store."""
        return {
            "digest": self.digest,
            "size": self.size,
            "inputs": [self.input.document()],
            "exits": [
                {
                    "name": exit_.name,
                    "output": exit_.output,
                    "accuracy": exit_.accuracy,
                    "tensor": tensor.document(),
                    "cuts": [c.document() for c in cuts],
                }
                for exit_, tensor, cuts in self.exits
            ],
            "inputCopies": list(self.input_copies),
            "unrepeatable": self.unrepeatable,
            "segments": [{"from": start, "to": end} for start, end in self.segments()],
            **self.shapes.document(),
            "indexRanges": dict(self.index_ranges),
        }


def metadata_of(
    graph: Graph, size: int, given: Sequence[Any] | None = None, shapes: ModelShapes | None = None
) -> ModelMetadata:
    """Metadata with the `given` exits, else the file's own. Raises ModelError with the field and the fix.

    shapes: at which the model is measured; default: those in the file's metadata.
    """
    shapes = shapes_of(graph, None) if shapes is None else shapes
    exits = read_exits(graph, given)
    described = tuple(
        (e, graph.tensor(e.output), shapes.cuts(graph, partial(_cuts, output=e.output))) for e in exits
    )
    return ModelMetadata(
        graph.digest,
        size,
        graph.tensor(graph.input),
        described,
        graph.input_copies,
        unrepeatable(graph.model),
        shapes,
        index_ranges(graph.model),
    )


def _cuts(graph: Graph, output: str) -> tuple[Cut, ...]:
    return worthwhile(graph.cuts(output, MOST_TENSORS))


def worthwhile(cuts: Sequence[Cut]) -> tuple[Cut, ...]:
    """Cuts of one tensor, and those of several tensors that send fewer bytes than every cut before.

    Any other cut could only help an entry node that is faster than the servers behind its link.
    """
    kept: list[Cut] = []
    for cut in cuts:
        if len(cut.tensors) == 1 or not kept or cut.bytes < min(c.bytes for c in kept):
            kept.append(cut)
    return tuple(kept)


def read_exits(graph: Graph, given: Sequence[Any] | None) -> tuple[DeclaredExit, ...]:
    """Returns the given exits, else those of the file's metadata, each checked against the graph."""
    stated = {p.key: p.value for p in graph.model.metadata_props}.get(EXITS_KEY)
    if not given and stated is None:
        raise NoExits(
            f"model.exits: neither the manifest nor the file's metadata ({EXITS_KEY}) names an exit: "
            f"give at least {{name: final, output: {(graph.computed or graph.outputs)[-1]}, "
            f"accuracy: <share of correct predictions on held-out data>}}"
        )
    try:
        return check_exits(given, graph.outputs) if given else parse_exits(stated or "", graph.outputs)
    except BadExitError as error:
        kind = _ERRORS.get(type(error), BadRequest)
        raise kind(f"model.exits{error.path}: {shown(error.value)} {error.problem}: {error.fix}") from error
