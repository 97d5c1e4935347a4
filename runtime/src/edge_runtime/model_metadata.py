"""Metadata of a model: what the planner needs to choose an exit and a cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

from edge_runtime.errors import BadAccuracy, BadRequest, NoExits, UnknownOutput
from edge_runtime.graph_analysis.analysis import unrepeatable
from edge_runtime.json_values import Json, shown
from edge_runtime.slicing import Cut, Graph
from edge_runtime.tensors import Tensor

EXITS_KEY = "edge.exits"
MOST_TENSORS = 4
"""Tensors of a cut that the metadata lists; each further tensor means another round of slices to profile."""


@dataclass(frozen=True, slots=True)
class Exit:
    """An output of the graph with a known accuracy; the last exit is the full model."""

    name: str
    output: str
    accuracy: float


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model's input, its exits with their cuts, and the segments between neighbouring cuts.

    unrepeatable: why the same inputs may give other outputs next time; empty if they are known not to.
    """

    digest: str
    size: int
    input: Tensor
    exits: tuple[tuple[Exit, Tensor, tuple[Cut, ...]], ...]
    unrepeatable: str

    def segments(self) -> list[tuple[str, str]]:
        """Every (from, to) between two neighbouring cuts of an exit or its last cut and its output, once."""
        found: dict[tuple[str, str], None] = {}
        for exit_, _, cuts in self.exits:
            names = [c.tensor for c in cuts] + [exit_.output]
            found.update(dict.fromkeys(pairwise(names)))
        return list(found)

    def document(self) -> dict[str, Any]:
        """As JSON, the response of the model store."""
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
                    "cuts": [
                        {"tensor": c.tensor, "tensors": list(c.tensors), "bytes": c.bytes} for c in cuts
                    ],
                }
                for exit_, tensor, cuts in self.exits
            ],
            "unrepeatable": self.unrepeatable,
            "segments": [{"from": start, "to": end} for start, end in self.segments()],
        }


def metadata_of(graph: Graph, size: int, given: Sequence[Any] | None = None) -> ModelMetadata:
    """The metadata with the `given` exits, else the file's own; a ModelError names the field and the fix."""
    exits = read_exits(graph, given)
    described = tuple(
        (e, graph.tensor(e.output), worthwhile(graph.cuts(e.output, MOST_TENSORS))) for e in exits
    )
    return ModelMetadata(graph.digest, size, graph.tensor(graph.input), described, unrepeatable(graph.model))


def worthwhile(cuts: Sequence[Cut]) -> tuple[Cut, ...]:
    """All cuts of one tensor, and those of several tensors that send fewer bytes than every cut before.

    Any other cut could only help an entry node that is faster than the servers behind its link.
    """
    kept: list[Cut] = []
    for cut in cuts:
        if len(cut.tensors) == 1 or not kept or cut.bytes < min(c.bytes for c in kept):
            kept.append(cut)
    return tuple(kept)


def read_exits(graph: Graph, given: Sequence[Any] | None) -> list[Exit]:
    """The given exits, else those of the file's metadata, each checked against the graph."""
    entries: Any = given
    if not entries:
        found = {p.key: p.value for p in graph.model.metadata_props}.get(EXITS_KEY)
        if found is None:
            raise NoExits(
                f"model.exits: neither the manifest nor the file's metadata ({EXITS_KEY}) names an exit; "
                f"give at least {{name: final, output: {(graph.computed or graph.outputs)[-1]}, "
                f"accuracy: <share of right answers on held-out data>}}"
            )
        try:
            entries = json.loads(found)
        except (ValueError, RecursionError) as error:
            raise BadRequest(
                f"model: the metadata {EXITS_KEY} is not JSON ({error}); write a list of exits"
            ) from error
    if not isinstance(entries, list) or not entries:
        raise BadRequest(
            f"model.exits: {shown(entries)} is not a list of exits; write [{{name, output, accuracy}}, …]"
        )
    exits = [_read_exit(graph, f"model.exits[{i}]", entry) for i, entry in enumerate(entries)]
    for field in ("name", "output"):
        values = [getattr(e, field) for e in exits]
        twice = next((i for i, v in enumerate(values) if v in values[:i]), None)
        if twice is not None:
            raise BadRequest(
                f'model.exits[{twice}].{field}: "{values[twice]}" is given twice; each exit needs its own'
            )
    return exits


def _read_exit(graph: Graph, field: str, entry: Json) -> Exit:
    if not isinstance(entry, dict):
        raise BadRequest(f"{field}: {shown(entry)} is not an exit; write {{name, output, accuracy}}")
    for key in ("name", "output"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise BadRequest(
                f"{field}.{key}: {shown(entry.get(key))} is not a name; write a non-empty string"
            )
    accuracy = entry.get("accuracy")
    if isinstance(accuracy, bool) or not isinstance(accuracy, int | float):
        raise BadAccuracy(
            f"{field}.accuracy: {shown(accuracy)} is not a number; write a share between 0 and 1"
        )
    if not isfinite(accuracy) or not 0 <= accuracy <= 1:
        raise BadAccuracy(f"{field}.accuracy: {accuracy} is not between 0 and 1; write a share such as 0.93")
    if entry["output"] not in graph.outputs:
        raise UnknownOutput(
            f'{field}.output: "{entry["output"]}" is not an output of the graph; its outputs are '
            f"{', '.join(graph.outputs)}"
        )
    return Exit(entry["name"], entry["output"], float(accuracy))
