"""Exits as the model store's metadata describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_api.placements import RouteOutput
from edge_runtime.json_values import Json


@dataclass(frozen=True, slots=True)
class ModelExit:
    """An exit of a model.

    accuracy: 1 for an only exit without a stated one, as it is planned.
    outputs: names of its outputs in the model, in the order of a response.
    own_names: whether a response has them under these names; else under those of the last exit.
    cuts: the tensors of each of its cuts, from the inputs to the deepest.
    """

    name: str
    accuracy: float
    outputs: tuple[str, ...]
    own_names: bool
    cuts: tuple[tuple[str, ...], ...]

    @property
    def route_outputs(self) -> tuple[RouteOutput, ...] | None:
        """The names of its outputs in a response, in the form of a Placement."""
        if not self.own_names:
            return None
        return tuple(RouteOutput(name=name, tensor=name) for name in self.outputs)

    def source(self, tensors: Sequence[str]) -> tuple[str, ...] | None:
        """Its deepest cut of these tensors, which need not be all of them; None if it has no such cut."""
        known = set(tensors)
        return next((cut for cut in reversed(self.cuts) if known.issuperset(cut)), None)


def model_exits(metadata: Json) -> list[ModelExit]:
    """The exits in the metadata of a model, also of a store of an earlier version, by depth.

    Raises KeyError and TypeError for metadata of another form.
    """
    return [_described(entry) for entry in metadata["exits"]]


def _described(entry: Mapping[str, Any]) -> ModelExit:
    outputs = entry.get("outputs") or [entry["output"]]
    stated = entry["accuracy"]
    cuts = tuple(tuple(cut.get("tensors") or [cut["tensor"]]) for cut in entry["cuts"])
    own = entry.get("responseNames") == "Own"
    return ModelExit(str(entry["name"]), 1.0 if stated is None else float(stated), tuple(outputs), own, cuts)
