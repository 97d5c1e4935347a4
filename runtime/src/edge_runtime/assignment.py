"""The Placement as the runtime uses it: `edge_api.placements` with tensors and derived values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from edge_api import placements, tensors
from edge_api.earlier import in_this_version
from edge_api.placements import UNENCODED, Codec
from edge_api.placements import PlacedLink as LinkSettings
from edge_api.words import shown
from edge_planning.routing.deadlines import DeadlineAction
from edge_runtime.codecs.contracts import names
from edge_runtime.errors import BadPlacement
from edge_runtime.json_values import Json
from edge_runtime.sequences.settings import StateSettings, settings_of
from edge_runtime.tensors import Tensor
from edge_runtime.validation_errors import describe

__all__ = [
    "IntermediateSlice",
    "LinkSettings",
    "PlacedModel",
    "Placement",
    "Route",
    "Slice",
    "Spec",
    "Stage",
    "parse_placement",
    "returned",
]

_log = logging.getLogger(__name__)
_said: set[str] = set()


def _tensor_schema(_: object, handler: GetCoreSchemaHandler) -> CoreSchema:
    def converted(read: tensors.Tensor) -> Tensor:
        return Tensor(read.name, read.datatype, read.shape, batched=read.batched is not False)

    def read(value: object, validate: Callable[[object], Tensor]) -> Tensor:
        return value if isinstance(value, Tensor) else validate(value)

    inner = core_schema.no_info_after_validator_function(converted, handler.generate_schema(tensors.Tensor))
    written = core_schema.plain_serializer_function_ser_schema(Tensor.document)
    return core_schema.no_info_wrap_validator_function(read, inner, serialization=written)


AnyTensor = Annotated[Tensor, GetPydanticSchema(_tensor_schema)]
Tensors = Annotated[tuple[AnyTensor, ...], Field(min_length=1, max_length=64)]


def _known(codec: str) -> str:
    if codec not in names():
        raise ValueError(f"{shown(codec)} is not a codec: use one of {', '.join(names())}")
    return codec


KnownCodec = Annotated[Codec, AfterValidator(_known)]


class Slice(tensors.Slice):
    """A subgraph by digest, with its tensors. `size` is unused here: the file's own size counts."""

    size: Annotated[int, Field(ge=0)] = 0
    inputs: Tensors  # type: ignore[assignment]
    outputs: Tensors  # type: ignore[assignment]


class Stage(placements.Stage):
    """A slice at a place. A stage that has an address is reached by a hop."""

    slice: Slice

    @property
    def compute(self) -> float:
        """Predicted compute time in seconds; 0 if unknown."""
        return self.predicted_compute or 0.0

    @property
    def kept_tensors(self) -> tuple[Tensor, ...]:
        """Outputs of the slice that stay here and are part of the response."""
        made = {tensor.name: tensor for tensor in self.slice.outputs}
        return tuple(made[name] for name in self.kept or ())

    @model_validator(mode="after")
    def _computes_what_it_keeps(self) -> Self:
        made = {tensor.name for tensor in self.slice.outputs}
        if unknown := next((name for name in self.kept or () if name not in made), None):
            raise ValueError(
                f"kept: {shown(unknown)} is not an output of the slice: use one of {', '.join(sorted(made))}"
            )
        return self


def returned(stages: Sequence[Stage]) -> tuple[Tensor, ...]:
    """What stages return together: the outputs of the last one, and what those before it keep."""
    kept = (tensor for stage in stages[:-1] for tensor in stage.kept_tensors)
    return (*stages[-1].slice.outputs, *kept)


class Route(placements.Route):
    """An exit and the stages that compute it, for a bandwidth of `min_bandwidth` bit/s or more."""

    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=8)]
    codecs: Annotated[tuple[KnownCodec, ...], Field(min_length=1, max_length=7)] | None = None

    @model_validator(mode="after")
    def _one_after_the_other(self) -> Self:
        here = [s.address is None for s in self.stages]
        if any(here[1:]):
            raise ValueError("stages must be at most one at this node, followed by those that are hops away")
        hops = len(here) - here[0]
        if self.codecs and len(self.codecs) != hops:
            raise ValueError(
                f"codecs must name one codec for each of the {hops} hops, or none for {UNENCODED}"
            )
        return self

    @property
    def sent(self) -> tuple[str, ...]:
        """Names in the model of the tensors that leave this node."""
        return self.cut_tensors or (self.cut,)

    @property
    def value(self) -> float:
        """What a response in time is worth, between 0 and 1."""
        return self.accuracy if self.worth is None else self.worth

    @property
    def codec(self) -> str:
        """How they are encoded on the first hop."""
        return self.codecs[0] if self.codecs else UNENCODED

    @property
    def local(self) -> Stage | None:
        """The stage that runs at this node; None if all stages run elsewhere."""
        return self.stages[0] if self.stages[0].address is None else None

    @property
    def remote(self) -> Stage | None:
        """The stage at the end of the first hop, which calls any stage behind it; None for a local route."""
        return next((stage for stage in self.stages if stage.address is not None), None)

    @property
    def crosses(self) -> bool:
        """Whether any hop crosses the link to Triton, as opposed to links between edge nodes."""
        return any(stage.runtime == "Triton" for stage in self.stages)


class IntermediateSlice(placements.IntermediateSlice):
    """A slice that this intermediate node runs for other entry nodes as `model`, and the stages behind it."""

    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=7)]

    @model_validator(mode="after")
    def _begins_here(self) -> Self:
        if [s.address is None for s in self.stages] != [True] + [False] * (len(self.stages) - 1):
            raise ValueError("stages must be one at this node, followed by those that are hops away")
        return self


class PlacedModel(placements.PlacedModel):
    """The model as clients see it."""

    inputs: Tensors  # type: ignore[assignment]
    outputs: Tensors  # type: ignore[assignment]

    @cached_property
    def kept_state(self) -> StateSettings | None:
        """The state that this node keeps for the sequences of the model."""
        return settings_of(self, self.inputs, self.outputs)

    @model_validator(mode="after")
    def _has_its_state(self) -> Self:
        settings_of(self, self.inputs, self.outputs)
        return self


class Spec(placements.PlacementSpec):
    """The spec of a Placement. autonomy: seconds without contact to the API server; None: no limit."""

    model: PlacedModel
    routes: Annotated[tuple[Route, ...], Field(min_length=1, max_length=16)]
    intermediate_slices: Annotated[tuple[IntermediateSlice, ...], Field(max_length=256)] = ()

    @cached_property
    def deadline_action(self) -> DeadlineAction:
        """What to do if a hop is late."""
        return DeadlineAction(self.deadline.action)

    @model_validator(mode="after")
    def _keeps_its_privacy(self) -> Self:
        inputs = {tensor.name for tensor in self.model.inputs}
        for route in self.routes:
            if route.remote is None or self.privacy == "Any":
                continue
            if self.privacy == "Local":
                raise ValueError(f'route {route.name} leaves the node, which privacy "Local" excludes')
            if sent := sorted(inputs.intersection(route.sent)):
                raise ValueError(
                    f"route {route.name} sends the input {', '.join(sent)}, which privacy "
                    f'"InputStaysLocal" excludes'
                )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [self.service, *(each.model for each in self.intermediate_slices)]
        if len(set(names)) != len(names):
            raise ValueError(f"intermediate slices and service must have different names: {', '.join(names)}")
        return self


class Placement(BaseModel):
    """A Placement and the generation of its spec."""

    model_config = ConfigDict(frozen=True)

    name: str
    namespace: str
    generation: int
    spec: Spec


def parse_placement(document: Json) -> Placement:
    """Reads a Placement from its object.

    Raises BadPlacement with the first wrong field, its value and the fix.
    """
    for part in ("metadata", "spec"):
        found = document.get(part) if isinstance(document, dict) else document
        if not isinstance(found, dict):
            where = f"{part}: " if isinstance(document, dict) else ""
            raise BadPlacement(
                f"not a Placement: {where}{shown(found)} is not a mapping: write metadata and spec"
            )
    metadata = document["metadata"]
    if not isinstance(metadata.get("name"), str):
        raise BadPlacement(
            f"metadata.name: {shown(metadata.get('name'))} is not a name: write one such as digits-edge-a"
        )
    spec = _spec(in_this_version({"kind": "Placement", "spec": document["spec"]})["spec"])
    namespace, generation = metadata.get("namespace"), metadata.get("generation")
    return Placement(
        name=metadata["name"],
        namespace=namespace if isinstance(namespace, str) else "default",
        generation=generation if isinstance(generation, int) else 0,
        spec=spec,
    )


def _spec(document: Json) -> Spec:
    """Reads the spec. Ignores fields of later API versions and logs each once."""
    try:
        return Spec.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        found = error.errors(include_url=False)
    unknown = [one["loc"] for one in found if one["type"] == "extra_forbidden"]
    if unknown:
        document = deepcopy(document)
        for place in unknown:
            _remove(document, place)
        try:
            spec = Spec.model_validate(document, by_alias=True, by_name=False)
        except ValidationError as error:
            found = error.errors(include_url=False)
        else:
            for place in unknown:
                _say_once(".".join(["spec", *(str(step) for step in place if isinstance(step, str))]))
            return spec
    first = found[0]
    raise BadPlacement(describe({**first, "loc": ("spec", *first["loc"])}))


def _remove(document: Any, place: tuple[int | str, ...]) -> None:  # noqa: ANN401
    *path, name = place
    for step in path:
        document = document[step]
    document.pop(name, None)


def _say_once(field: str) -> None:
    if field not in _said:
        _said.add(field)
        _log.warning("%s: unknown to this version of the runtime and ignored", field)
