"""What is wrong with an object, in the sentences that the API server would answer with."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edge_api.kinds import KINDS
from edge_api.objects import KubernetesObject
from edge_api.schemas import definition
from edge_api.words import kind_of, shown


def problems(body: object) -> list[str]:
    """One sentence for each thing that is wrong with `body`: field, value, fix. Empty for a good object."""
    if not isinstance(body, Mapping):
        return [f"a manifest is a mapping, not {kind_of(body)}: write apiVersion, kind, metadata and spec"]
    named = body.get("kind")
    kind = KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        return [f"kind: {shown(named)} is not known: write one of {', '.join(KINDS)}"]
    try:
        kind.model_validate(body, by_alias=True, by_name=False)
    except ValidationError as error:
        return sentences(kind, error)
    return []


def sentences(kind: type[KubernetesObject], error: ValidationError) -> list[str]:
    """Every problem of a rejected object of this kind, one message each."""
    found = error.errors(include_url=False)
    return [sentence(kind, one) for one in found if not _follows(one, found)]


def _follows(one: ErrorDetails, found: list[ErrorDetails]) -> bool:
    """Whether a list seems too short only because an item of it is wrong, which is said already."""
    place = one["loc"]
    return one["type"] == "too_short" and any(
        place == other["loc"][: len(place)] != other["loc"] for other in found
    )


def sentence(kind: type[KubernetesObject], error: ErrorDetails) -> str:
    """A validation error as one sentence that begins with the field's path."""
    path = _path(error["loc"])
    match error["type"]:
        case "extra_forbidden":
            name = str(error["loc"][-1])
            near = get_close_matches(name, _fields(kind, error["loc"][:-1]), n=1, cutoff=0.6)
            return f'unknown field "{path}": ' + (f"write {near[0]}" if near else "remove it")
        case "missing":
            return f"{path}: Required value"
        case "literal_error":
            values = ", ".join(f'"{value}"' for value in re.findall("'([^']*)'", error["ctx"]["expected"]))
            return f"{path}: Unsupported value: {shown(error['input'])}: supported values: {values}"
        case "value_error":
            text = str(error["ctx"]["error"])
            return text if text.startswith("metadata.") else f"{path}: {text}"
        case _:
            return f"{path}: {_fault(error)}" if path else _fault(error)


def _fault(error: ErrorDetails) -> str:
    """What is wrong with a value and what to write, in the words of YAML."""
    value, limits = error["input"], error.get("ctx", {})
    said = shown(value)
    match error["type"]:
        case "string_type":
            quoted = isinstance(value, bool | int | float) or kind_of(value) == "a date"
            return f"{said} is not text" + (": put it in quotes" if quoted else f" but {kind_of(value)}")
        case "finite_number":
            return f"{said} is not a finite number"
        case "float_type" | "float_parsing":
            return f"{said} is not a number{_unquoted(value)}"
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"{said} is not a whole number{_unquoted(value)}"
        case "bool_type" | "bool_parsing":
            return f"{said} is neither true nor false"
        case "model_type" | "dict_type" | "mapping_type" | "model_attributes_type":
            return f"{said} is not a mapping: write its fields below it, each as name: value"
        case "tuple_type" | "list_type":
            return f"{said} is not a list: write each item after a hyphen"
        case "too_short":
            return (
                f"{said} has {_items(limits['actual_length'])}: write at least {_items(limits['min_length'])}"
            )
        case "too_long":
            return f"{kind_of(value)} of more than {_items(limits['max_length'])}: write at most as many"
        case "string_too_short":
            return f"{said} is empty: write some text"
        case "string_too_long":
            return f"{said} is longer than {limits['max_length']} characters: shorten it"
        case "string_pattern_mismatch":
            return f"{said} does not match {limits['pattern']}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            bound = next(iter(limits.values()))
            side = "below" if error["type"].startswith("greater") else "above"
            return f"{said} is {side} what is allowed: the limit is {bound}"
        case "invalid_key":
            return f"the key {shown(error['loc'][-1])} is not text: put it in quotes"
        case kind if kind.startswith(("datetime", "timezone", "date")):
            return f"{said} is not a time: write one as 2026-01-31T12:00:00Z"
        case _:
            return f"{said} cannot be used here"


def _unquoted(value: object) -> str:
    if isinstance(value, bool | float):
        return ""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", value):
        return ": write it without quotes"
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,9}(\.[0-9]{0,9})?[eE][-+]?[0-9]{1,2}", value):
        return f": write {float(value):g}"
    return f" but {kind_of(value)}"


def _items(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"


def _path(location: Iterable[int | str]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def _fields(kind: type[KubernetesObject], location: Iterable[int | str]) -> list[str]:
    """The names that a part at `location` has, found in the generated schema."""
    schema: dict[str, Any] = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for step in location:
        schema = (
            schema.get("items", {}) if isinstance(step, int) else schema.get("properties", {}).get(step, {})
        )
    return list(schema.get("properties", {}))
