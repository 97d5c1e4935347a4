"""The shapes at which a model with open dimensions is measured, and its cuts at these shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_api.words import shown
from edge_planning.declared_inputs import (
    INPUTS_KEY,
    BadInputError,
    UnknownSize,
    check_inputs,
    parse_inputs,
    stated_shapes,
    what_to_write,
)
from edge_planning.request_shapes import RequestShape, measured_shapes
from edge_runtime.errors import BadInputs
from edge_runtime.slicing import Cut, Graph


@dataclass(frozen=True, slots=True)
class ShapedCut:
    """A cut, and its bytes for a batch of one at each shape, from the smallest shape to the largest."""

    cut: Cut
    bytes: tuple[int, ...]

    @property
    def tensor(self) -> str:
        """The cut's name."""
        return self.cut.tensor

    def document(self) -> dict[str, Any]:
        """The cut in the model's metadata. `bytes` are those at the largest shape."""
        found = {"tensor": self.cut.tensor, "tensors": list(self.cut.tensors), "bytes": self.bytes[-1]}
        sent = {"sent": list(self.cut.sent)} if self.cut.sent else {}
        return found | sent | ({"bytesAt": list(self.bytes)} if len(self.bytes) > 1 else {})


@dataclass(frozen=True, slots=True)
class ModelShapes:
    """The shapes at which a model is measured.

    shapes: from the smallest to the largest; empty if no dimension besides the batch is open, or if sizes are
    unknown. unknown: open dimensions without a size, and advice: what to write into the manifest about them.
    """

    shapes: tuple[RequestShape, ...] = ()
    unknown: tuple[UnknownSize, ...] = ()
    advice: str = ""

    def document(self) -> dict[str, Any]:
        """The fields of the model's metadata."""
        return {
            "shapes": [{"inputs": shape.document()} for shape in self.shapes],
            "unknownSizes": [
                {"input": each.input, "dimension": each.dimension, "symbol": each.symbol}
                for each in self.unknown
            ],
            "advice": self.advice,
        }

    def cuts(self, graph: Graph, cuts_of: Callable[[Graph], Sequence[Cut]]) -> tuple[ShapedCut, ...]:
        """The cuts that `cuts_of` finds at the largest shape and whose bytes are known at every shape.

        No cuts if sizes are unknown.
        """
        if self.unknown:
            return ()
        if not self.shapes:
            return tuple(ShapedCut(cut, (cut.bytes,)) for cut in cuts_of(graph))
        at = [{cut.tensors: cut for cut in cuts_of(graph.at(shape.shapes()))} for shape in self.shapes]
        return tuple(
            ShapedCut(cut, tuple(found[tensors].bytes for found in at))
            for tensors, cut in at[-1].items()
            if all(tensors in found for found in at)
        )


def shapes_of(
    graph: Graph, given: Sequence[Any] | None, sampled: Mapping[str, Sequence[int]] | None = None
) -> ModelShapes:
    """The shapes that the `given` inputs state, else the file's metadata, else samples of these shapes.

    Raises BadInputs with the field, the value and the fix.
    """
    stated = {p.key: p.value for p in graph.model.metadata_props}.get(INPUTS_KEY)
    datatypes = {name: graph.tensor(name).datatype for name in graph.inputs}
    inputs = graph.dimensions
    try:
        if given:
            declared = check_inputs(given, inputs, datatypes)
        elif stated is not None:
            declared = parse_inputs(stated, inputs, datatypes)
        else:
            entries = [{"name": name, "shape": list(shape)} for name, shape in (sampled or {}).items()]
            declared = check_inputs(entries, inputs)
    except BadInputError as error:
        said = f"{shown(error.value)} {error.problem}: {error.fix}"
        raise BadInputs(f"model.inputs{error.path}: {said}") from error
    if not graph.is_open and not declared:
        return ModelShapes()
    found = stated_shapes(inputs, declared)
    if found.typical is None or found.largest is None:
        return ModelShapes(unknown=found.unknown, advice=what_to_write(inputs, found.unknown))
    if not graph.is_open and found.typical == found.largest == stated_shapes(inputs, ()).largest:
        return ModelShapes()
    return ModelShapes(measured_shapes(found.typical, found.largest))
