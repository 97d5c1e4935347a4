"""What is wrong with an object, in the sentences that the API server would answer with."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edge_operator.api import KINDS
from edge_operator.api.objects import KubernetesObject
from edge_operator.api.schemas import definition


def problems(body: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that is wrong with `body`: field, value, fix. Empty for a good object."""
    kind = KINDS.get(str(body.get("kind")))
    if kind is None:
        return [f'kind: "{body.get("kind")}" is not known: write one of {", ".join(KINDS)}']
    try:
        kind.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False)
        return [sentence(kind, one) for one in found if not _follows(one, found)]
    return []


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
            values = error["ctx"]["expected"].replace("' or '", "', '").replace("'", '"')
            return f'{path}: Unsupported value: "{error["input"]}": supported values: {values}'
        case "value_error":
            text = str(error["ctx"]["error"])
            return text if text.startswith("metadata.") else f"{path}: {text}"
        case _:
            return f"{path}: {error['input']!r}: {error['msg']}"


def _path(location: Iterable[int | str]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def _fields(kind: type[KubernetesObject], location: Iterable[int | str]) -> list[str]:
    """The names that a part at `location` has, found in the generated schema."""
    schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for step in location:
        schema = (
            schema.get("items", {}) if isinstance(step, int) else schema.get("properties", {}).get(step, {})
        )
    return list(schema.get("properties", {}))
