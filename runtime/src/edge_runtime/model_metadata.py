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
    whole_model,
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
"""Maximum intermediate tensors of a cut in the metadata; each more would need another round of slices to
profile."""


@dataclass(frozen=True, slots=True)
class DescribedExit:
    """An exit, its outputs and the cuts before it.

    response: bytes of the outputs for a batch of one at each shape, from the smallest shape to the largest.
    """

    declared: DeclaredExit
    tensors: tuple[Tensor, ...]
    cuts: tuple[ShapedCut, ...]
    response: tuple[int, ...]

    def document(self) -> dict[str, Any]:
        """The exit as JSON."""
        return {
            "name": self.declared.name,
            "outputs": list(self.declared.outputs),
            "accuracy": self.declared.accuracy,
            "responseNames": "Own" if self.declared.own_names else "Final",
            "tensors": [tensor.document() for tensor in self.tensors],
            "cuts": [cut.document() for cut in self.cuts],
            "responseBytes": self.response[-1],
            **({"responseBytesAt": list(self.response)} if len(self.response) > 1 else {}),
        }


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model's inputs, its exits with their cuts, and the segments between adjacent cuts.

    input_copies: tensors that are only copies of an input.
    unrepeatable: why the same inputs may give other outputs next time; empty if they are known not to.
    index_ranges: number of values that an input can have which is an index, by input.
    local: why inputs and activations cannot leave the node at which requests arrive; empty if they can.
    """

    digest: str
    size: int
    inputs: tuple[Tensor, ...]
    exits: tuple[DescribedExit, ...]
    input_copies: tuple[str, ...]
    unrepeatable: str
    local: str
    shapes: ModelShapes = field(default_factory=ModelShapes)
    index_ranges: Mapping[str, int] = field(default_factory=dict)

    def segments(self) -> list[tuple[str, str]]:
        """Every (from, to) between adjacent cuts of an exit, or its last cut and its outputs, once."""
        found: dict[tuple[str, str], None] = {}
        for exit_ in self.exits:
            names = [c.tensor for c in exit_.cuts] + [exit_.declared.end]
            found.update(dict.fromkeys(pairwise(names)))
        return list(found)

    def document(self) -> dict[str, Any]:
        """The metadata as JSON, the response of the model store."""
        return {
            "digest": self.digest,
            "size": self.size,
            "inputs": [tensor.document() for tensor in self.inputs],
            "exits": [exit_.document() for exit_ in self.exits],
            "inputCopies": list(self.input_copies),
            "unrepeatable": self.unrepeatable,
            "local": self.local,
            "segments": [{"from": start, "to": end} for start, end in self.segments()],
            **self.shapes.document(),
            "indexRanges": dict(self.index_ranges),
        }


def metadata_of(
    graph: Graph, size: int, given: Sequence[Any] | None = None, shapes: ModelShapes | None = None
) -> ModelMetadata:
    """Metadata with the `given` exits, else the file's own, else one exit with all outputs.

    shapes: at which the model is measured; default: those in the file's metadata. Raises ModelError with the
    field and the fix.
    """
    shapes = shapes_of(graph, None) if shapes is None else shapes
    exits = tuple(
        DescribedExit(
            exit_,
            tuple(graph.tensor(name) for name in exit_.outputs),
            shapes.cuts(graph, partial(_cuts, outputs=exit_.outputs)),
            shapes.responses(graph, exit_.outputs),
        )
        for exit_ in read_exits(graph, given)
    )
    return ModelMetadata(
        graph.digest,
        size,
        tuple(graph.tensor(name) for name in graph.inputs),
        exits,
        graph.input_copies,
        unrepeatable(graph.model),
        _staying(graph.strings(graph.needed_inputs([name for e in exits for name in e.declared.outputs]))),
        shapes,
        index_ranges(graph.model),
    )


def _cuts(graph: Graph, outputs: Sequence[str]) -> tuple[Cut, ...]:
    return worthwhile(graph.cuts(outputs, MOST_TENSORS))


def _staying(strings: Sequence[str]) -> str:
    if not strings:
        return ""
    named = ", ".join(dict.fromkeys(strings))
    return (
        f"model: input {named} contains strings, whose bytes are not known in advance: "
        f"requests are served at the node at which they arrive"
    )


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
    """Returns the given exits, else those of the file's metadata, each checked against the graph.

    If neither lists any, the model has one, with all outputs that are computed from an input. Raises NoExits
    if there are none.
    """
    stated = {p.key: p.value for p in graph.model.metadata_props}.get(EXITS_KEY)
    if not given and stated is None:
        if not graph.computed:
            raise NoExits(
                f"model: no output ({', '.join(graph.outputs)}) is computed from an input: use another file"
            )
        return whole_model(graph.computed)
    try:
        return check_exits(given, graph.outputs) if given else parse_exits(stated or "", graph.outputs)
    except BadExitError as error:
        kind = _ERRORS.get(type(error), BadRequest)
        raise kind(f"model.exits{error.path}: {shown(error.value)} {error.problem}: {error.fix}") from error
