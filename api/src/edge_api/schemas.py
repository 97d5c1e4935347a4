"""From the pydantic models to CustomResourceDefinitions with structural schemas."""

from collections.abc import Mapping
from typing import Any

from edge_api.objects import GROUP, VERSION, KubernetesObject, Resource
from edge_api.rules import VALIDATIONS

Schema = dict[str, Any]

# What a structural schema of Kubernetes may hold; anything else that pydantic writes is an error here, not at
# the API server.
_KEPT = frozenset(
    {
        "type", "format", "description", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength",
        "minItems", "maxItems", "minProperties", "maxProperties", "required", "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string", VALIDATIONS,
    }
)  # fmt: skip
# The types for which a bound has a meaning; for others the API server silently ignores it.
_BOUNDED = {"Length": "string", "Items": "array", "Properties": "object"}
_DROPPED = frozenset({"title", "propertyNames", "examples"})
_ORDER = ("description", "type", "format", "default", "enum")


class NotStructuralError(TypeError):
    """A model says something that a structural schema cannot hold; the message names it and where."""


def structural(schema: Schema, definitions: Mapping[str, Schema], where: str = "") -> Schema:
    """`schema` with every $ref replaced by what it refers to, in the words of a structural schema."""
    schema = dict(schema)
    if reference := schema.pop("$ref", None):
        schema = {**definitions[reference.rsplit("/", 1)[1]], **schema}
    options = None if "x-kubernetes-int-or-string" in schema else schema.pop("anyOf", None)
    if options:
        kept = [option for option in options if option != {"type": "null"}]
        if len(kept) != 1:
            raise NotStructuralError(f"{where}: a union of {len(kept)} types cannot be written")
        schema = {**structural(kept[0], definitions, where), **schema}
    union = schema.pop("anyOf", None)  # the only one that Kubernetes has
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "default" in schema:
        schema["default"] = _without_nulls(schema["default"])
        if not schema["default"]:
            del schema["default"]  # an empty default says no more than leaving it out
    if schema.get("type") == "integer":
        schema.setdefault("format", "int64")
    extra = schema.pop("additionalProperties", None)
    out: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            out[key] = {
                name: structural(part, definitions, f"{where}.{name}") for name, part in value.items()
            }
        elif key == "items":
            out[key] = structural(value, definitions, f"{where}[]")
        elif _bounds_another_type(key, schema):
            raise NotStructuralError(f"{where}: {key} bounds nothing of type {schema.get('type')}")
        elif key in _KEPT or key == "default":
            out[key] = value
        elif key not in _DROPPED:
            raise NotStructuralError(f"{where}: {key} cannot be written into a structural schema")
    if out.get("type") == "array":
        out.setdefault("x-kubernetes-list-type", "atomic")
    if isinstance(extra, dict):
        out["additionalProperties"] = structural(extra, definitions, f"{where}{{}}")
    if union is not None:
        out["anyOf"] = union
    first = {key: out.pop(key) for key in _ORDER if key in out}
    return {**first, **out}


def _bounds_another_type(key: str, schema: Schema) -> bool:
    bounded = _BOUNDED.get(key[3:]) if key[:3] in ("min", "max") else None
    return bounded not in (None, schema.get("type"))


def _without_nulls(default: Any) -> Any:  # noqa: ANN401 - JSON
    """The API server takes null for a value of the wrong type, not for none."""
    if isinstance(default, dict):
        return {key: _without_nulls(value) for key, value in default.items() if value is not None}
    return default


def definition(kind: type[KubernetesObject]) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    resource = kind.resource
    json = kind.model_json_schema(by_alias=True, mode="validation")
    schema = structural(json, json.pop("$defs"), kind.__name__)
    properties = schema["properties"]
    for name in ("apiVersion", "kind"):
        properties[name] = {"type": "string"}
    properties["metadata"] = {"type": "object"}
    schema["required"] = ["spec"]
    if resource.rules:
        schema[VALIDATIONS] = [rule.validation() for rule in resource.rules]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": _names(kind.__name__, resource),
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    **({"subresources": {"status": {}}} if resource.status else {}),
                    "additionalPrinterColumns": _columns(resource),
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _names(kind: str, resource: Resource) -> dict[str, Any]:
    return {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": resource.plural,
        "singular": kind.lower(),
        **({"shortNames": list(resource.short_names)} if resource.short_names else {}),
        "categories": ["edge-intelligence"],
    }


def _columns(resource: Resource) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "type": column.type,
            "jsonPath": column.path,
            "description": column.description,
            **({"priority": 1} if column.wide else {}),
        }
        for column in resource.columns
    ]
