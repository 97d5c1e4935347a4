"""What all kinds have in common: metadata, conditions, reading and writing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from edge_api.rules import OBJECT_NAME, Rule
from edge_api.words import shown

GROUP = "edge-intelligence.io"
VERSION = "v1alpha1"
API_VERSION: Literal["edge-intelligence.io/v1alpha1"] = "edge-intelligence.io/v1alpha1"


class _Document(BaseModel):
    """Reads nulls as the API server does: a field that is null is absent."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: object) -> object:
        if not isinstance(value, Mapping) or None not in value.values():
            return value
        known = {name for field in cls.model_fields.items() for name in (field[0], field[1].alias)}
        return {key: part for key, part in value.items() if part is not None or key not in known}


class Part(_Document):
    """Part of a spec: frozen, camelCase outside, no unknown fields."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, allow_inf_nan=False
    )


class StatusPart(Part):
    """Part of a status: fields that a newer writer adds are ignored."""

    model_config = ConfigDict(extra="ignore")


def _empty_for_null(value: object) -> object:
    """As Go reads a mapping of texts."""
    return {k: "" if v is None else v for k, v in value.items()} if isinstance(value, Mapping) else value


Texts = Annotated[dict[str, str], BeforeValidator(_empty_for_null)]


class ObjectMeta(_Document):
    """The fields of Kubernetes' ObjectMeta that are read here; the rest is kept unchanged."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True)

    name: str
    namespace: str | None = None
    uid: str | None = None
    generation: int | None = None
    labels: Texts = {}
    annotations: Texts = {}
    owner_references: tuple[dict[str, Any], ...] = ()
    deletion_timestamp: AwareDatetime | None = None


class Condition(StatusPart):
    """A condition, as in metav1."""

    type: str = Field(max_length=316, description="Name of the condition in CamelCase, e.g. Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Status of the condition.")
    observed_generation: int = Field(
        default=0, description="The metadata.generation for which the condition was set."
    )
    reason: str = Field(
        default="", max_length=1024, description="Reason of the status in CamelCase, e.g. Profiling."
    )
    message: str = Field(
        default="", max_length=32768, description="Details for people: field, value, problem and fix."
    )
    last_transition_time: AwareDatetime | None = Field(
        default=None, description="Time at which the status last changed."
    )


@dataclass(frozen=True, slots=True)
class KeyedBy:
    """A list whose items a server-side apply merges by this key; it replaces other lists as a whole."""

    key: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        keys = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}
        return {**handler(schema), **keys}


Conditions = Annotated[tuple[Condition, ...], Field(max_length=32), KeyedBy("type")]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; wide ones are shown with -o wide only."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """How the API server serves a kind."""

    plural: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    namespaced: bool = True
    status: bool = True
    rules: tuple[Rule, ...] = ()


AGE = Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date")


def condition_column(name: str, condition: str, field: str, description: str) -> Column:
    """A column that shows one field of one condition."""
    return Column(name, f'.status.conditions[?(@.type=="{condition}")].{field}', description)


def _too_long(name: str) -> str | None:
    return f"{shown(name)} is longer than 253 characters" if len(name) > 253 else None


class KubernetesObject(Part):
    """A whole object. `model_validate(body)` reads one; `body()` gives what can be applied or patched."""

    resource: ClassVar[Resource]

    api_version: Literal["edge-intelligence.io/v1alpha1"] = API_VERSION
    metadata: ObjectMeta

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        name = self.metadata.name
        if not self.resource.rules and (sentence := OBJECT_NAME.check(name) or _too_long(name)):
            raise ValueError(f"metadata.name: {sentence}")
        for rule in self.resource.rules:
            rule.apply(self)
        return self

    def body(self) -> dict[str, Any]:
        """The object as plain JSON values, without the fields that say nothing."""
        return {
            "apiVersion": self.api_version,
            "kind": type(self).__name__,
            "metadata": self.metadata.model_dump(mode="json", by_alias=True, exclude_defaults=True),
            **{name: part for name, part in written(self).items() if name in ("spec", "status")},
        }


def written(part: BaseModel, *, clearing: bool = False) -> dict[str, Any]:
    """A part as plain JSON values: camelCase, units as text.

    What is None is left out; when clearing, it is written as null, which removes the field in a merge patch.
    """
    return part.model_dump(mode="json", by_alias=True, exclude_none=not clearing)
