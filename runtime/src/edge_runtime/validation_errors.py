"""Messages for invalid values of a Placement, in terms of YAML and JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pydantic_core import ErrorDetails

from edge_api.words import shown

_KINDS: Final[Mapping[str, str]] = {
    "string_type": "text",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "a mapping",
    "dict_type": "a mapping",
}
"""What was expected, by pydantic's type of error."""


def describe(error: ErrorDetails) -> str:
    """Returns one sentence: field, value, and the expected form."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"]).lstrip(".")
    return f"{path}: {_what(error)}" if path else _what(error)


def _what(error: ErrorDetails) -> str:
    kind, said, limits = error["type"], shown(error["input"]), error.get("ctx", {})
    if kind in _KINDS:
        return f"{said} is not {_KINDS[kind]}"
    if kind == "missing":
        return "missing: the field is required"
    if kind == "value_error":
        sentence = str(limits["error"])
        return sentence if sentence.startswith((said, said.strip('"'))) else f"{said}: {sentence}"
    if kind in ("literal_error", "enum"):
        allowed = re.findall("'([^']*)'", limits["expected"])
        return f"{said} is not one of {', '.join(allowed)}"
    if kind in ("too_short", "string_too_short"):
        return f"{said} is too short: give at least {limits.get('min_length', 1)}"
    if kind in ("too_long", "string_too_long"):
        return f"{said} is too long: give at most {limits['max_length']}"
    if limits and kind.startswith(("greater", "less")):
        bound = next(iter(limits.values()))
        return f"{said} is {'below' if kind.startswith('greater') else 'above'} the limit of {bound}"
    return f"{said} is not valid here"
