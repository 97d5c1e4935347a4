"""The Placement as this runtime reads it: the route table of one service at this node."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel

from edge_planning.routing.deadlines import DeadlineAction
from edge_runtime.errors import BadPlacement
from edge_runtime.json_values import Json, shown
from edge_runtime.tensors import NUMPY_TYPES, Tensor
from edge_runtime.units import parse_duration, parse_quantity
from edge_runtime.validation_errors import describe

_log = logging.getLogger(__name__)
_said: set[str] = set()


def _tensor(value: Json) -> Json:
    if isinstance(value, Tensor):
        return value
    try:
        tensor = Tensor.of(value)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("is not a tensor: write {name, datatype, shape}") from error
    if tensor.datatype not in NUMPY_TYPES:
        raise ValueError(
            f"datatype {shown(value['datatype'])} is not served; use one of {', '.join(NUMPY_TYPES)}"
        )
    return tensor


def _seconds(value: Json, info: ValidationInfo) -> Json:
    return value if isinstance(value, float) and info.context is not _DOCUMENT else parse_duration(value)


_DOCUMENT: Final = "a document: its durations are text, those that code gives are seconds"
Seconds = Annotated[float, BeforeValidator(_seconds)]
Quantity = Annotated[float, BeforeValidator(parse_quantity)]
AnyTensor = Annotated[Tensor, BeforeValidator(_tensor)]


class _Part(BaseModel):
    # A later operator may say more than this runtime knows: it serves on, and says once what it leaves out.
    model_config = ConfigDict(extra="allow", frozen=True, alias_generator=to_camel, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Json) -> Json:
        """As the API server reads them: a field that is null is one that is not there."""
        if not isinstance(value, dict) or None not in value.values():
            return value
        return {key: part for key, part in value.items() if part is not None}


class Slice(_Part):
    """A sub-graph by digest, with its tensors."""

    digest: str
    size: int = 0
    inputs: tuple[AnyTensor, ...] = Field(min_length=1)
    outputs: tuple[AnyTensor, ...] = Field(min_length=1)


class Stage(_Part):
    """A slice running at a place; one that has an address is a hop away."""

    place: str
    runtime: Literal["Edge", "Triton"]
    slice: Slice
    address: str | None = None
    model: str | None = None
    predicted_compute: Seconds = 0.0

    @model_validator(mode="after")
    def _addressed(self) -> Stage:
        if self.address is not None and not self.model:
            raise ValueError("a stage with an address needs model, the name that it has there")
        if self.runtime == "Triton" and self.address is None:
            raise ValueError("a Triton stage needs address, e.g. http://host:8000")
        return self


class Route(_Part):
    """An exit and the stages that compute it, right from `min_bandwidth` bit/s upward.

    `cut` names the tensors that leave this node, `cut_tensors` one by one. `codecs` are those of the hops.
    """

    name: str
    exit: str
    cut: str
    cut_tensors: tuple[str, ...] = ()
    codecs: tuple[Literal["fp32", "fp16", "int8"], ...] = ()
    accuracy: float
    min_bandwidth: Quantity
    predicted_latency: Seconds
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=8)

    @model_validator(mode="after")
    def _one_after_the_other(self) -> Route:
        here = [s.address is None for s in self.stages]
        if any(here[1:]):
            raise ValueError("stages must be at most one at this node, then those that are hops away")
        hops = len(here) - here[0]
        if self.codecs and len(self.codecs) != hops:
            raise ValueError(f"codecs must name one for each of the {hops} hops, or none for fp32")
        return self

    @property
    def output(self) -> Tensor:
        """What the last stage gives."""
        return self.stages[-1].slice.outputs[0]

    @property
    def sent(self) -> tuple[str, ...]:
        """The tensors that leave this node, as the model names them."""
        return self.cut_tensors or (self.cut,)

    @property
    def codec(self) -> str:
        """How they are encoded on the first hop."""
        return self.codecs[0] if self.codecs else "fp32"

    @property
    def local(self) -> Stage | None:
        """The stage that runs here."""
        return self.stages[0] if self.stages[0].address is None else None

    @property
    def remote(self) -> Stage | None:
        """The stage that runs a hop away; those behind it are its own to ask."""
        return next((stage for stage in self.stages if stage.address is not None), None)

    @property
    def crosses(self) -> bool:
        """Whether any hop crosses the link to Triton; those between edge nodes do not."""
        return any(stage.runtime == "Triton" for stage in self.stages)


class IntermediateSlice(_Part):
    """A slice that this intermediate node runs for other entry nodes as `model`, and the stages behind it."""

    model: str = Field(min_length=1)
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=7)

    @model_validator(mode="after")
    def _begins_here(self) -> IntermediateSlice:
        if [s.address is None for s in self.stages] != [True] + [False] * (len(self.stages) - 1):
            raise ValueError("stages must be one at this node, then those that are hops away")
        return self


class Model(_Part):
    """The model as its callers see it."""

    digest: str
    inputs: tuple[AnyTensor, ...] = Field(min_length=1)
    output: AnyTensor


class Slo(_Part):
    """The latency target in seconds, the percentile that it is meant for, the least accuracy of an exit."""

    latency: Seconds
    percentile: float = 95
    min_accuracy: float | None = None


class LinkSettings(_Part):
    """Where to measure the link to `peer`, how often when no traffic does, and for how many bytes an hour."""

    peer: str
    probe: str
    interval: Seconds = 2.0
    budget: Quantity = 16 << 20


class EarlyExit(_Part):
    """Whether an input of which the exit behind the head is sure (from `threshold` on) leaves there."""

    mode: Literal["Planned", "Confidence"] = "Planned"
    threshold: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _known(self) -> EarlyExit:
        if self.mode == "Confidence" and self.threshold is None:
            raise ValueError("mode Confidence needs a threshold, e.g. 0.9")
        return self

    @property
    def leave_at(self) -> float | None:
        """The confidence from which an input leaves early; None: never."""
        return self.threshold if self.mode == "Confidence" else None


class Deadline(_Part):
    """What becomes of a request whose remote reply is late."""

    action: DeadlineAction = DeadlineAction.LOCAL_EXIT


class InputFilter(_Part):
    """Inputs nearer than `threshold` to the last computed one are not computed, for `max_age` seconds."""

    action: Literal["Answer", "Drop"] = "Answer"
    threshold: float = Field(default=0.02, gt=0, lt=1)
    max_age: Seconds = 1.0


class ResultCache(_Part):
    """Results by the inputs' digest, in at most `max_bytes`, for `max_age` seconds."""

    max_bytes: Quantity = 16 << 20
    max_age: Seconds = 60.0


class Spec(_Part):
    """The spec of a Placement. autonomy: seconds without a word from the API server; None: without end."""

    service: str
    node: str
    mode: str
    model: Model
    slo: Slo
    link: LinkSettings | None = None
    early_exit: EarlyExit = EarlyExit()
    deadline: Deadline = Deadline()
    autonomy: Seconds | None = None
    input_filter: InputFilter | None = None
    result_cache: ResultCache | None = None
    routes: tuple[Route, ...] = Field(min_length=1)
    relays: tuple[IntermediateSlice, ...] = ()

    @model_validator(mode="after")
    def _ordered(self) -> Spec:
        needs = [r.min_bandwidth for r in self.routes]
        if needs != sorted(needs, reverse=True):
            raise ValueError("routes must be ordered by minBandwidth, highest first")
        names = [self.service, *(relay.model for relay in self.relays)]
        if len(set(names)) != len(names):
            raise ValueError(f"relays and service must have names of their own, they are {', '.join(names)}")
        return self


class Placement(BaseModel):
    """A Placement and the generation of its spec."""

    model_config = ConfigDict(frozen=True)

    name: str
    namespace: str
    generation: int
    spec: Spec


def parse_placement(document: Json) -> Placement:
    """A Placement from its object; BadPlacement names the first wrong field, its value and why."""
    for part in ("metadata", "spec"):
        found = document.get(part) if isinstance(document, dict) else document
        if not isinstance(found, dict):
            where = f"{part}: " if isinstance(document, dict) else ""
            raise BadPlacement(
                f"not a Placement: {where}{shown(found)} is not a mapping; write metadata and spec"
            )
    metadata = document["metadata"]
    if not isinstance(metadata.get("name"), str):
        raise BadPlacement(
            f"metadata.name: {shown(metadata.get('name'))} is not a name; write one, e.g. digits-edge-a"
        )
    try:
        spec = Spec.model_validate(document["spec"], context=_DOCUMENT)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadPlacement(describe({**first, "loc": ("spec", *first["loc"])})) from error
    namespace, generation = metadata.get("namespace"), metadata.get("generation")
    placement = Placement(
        name=metadata["name"],
        namespace=namespace if isinstance(namespace, str) else "default",
        generation=generation if isinstance(generation, int) else 0,
        spec=spec,
    )
    for unknown in _unknown(placement.spec, "spec"):
        if unknown not in _said:
            _said.add(unknown)
            _log.warning("%s is not known to this runtime and is left out of account", unknown)
    return placement


def _unknown(part: BaseModel, path: str) -> Iterator[str]:
    yield from (f"{path}.{name}" for name in part.model_extra or ())
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, BaseModel):
                yield from _unknown(item, f"{path}.{field.alias or name}")
