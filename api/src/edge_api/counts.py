"""Counts and percentages of things as Kubernetes writes them: `2` or `50%`."""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from edge_api.words import shown

_PATTERN = "^(100|[0-9]{1,2})%$"
_FIX = "is not a count: write a whole number from 0 up such as 2, or a percentage up to 100% such as 50%"


def _read(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and re.fullmatch(_PATTERN, value):
        return value
    raise ValueError(f"{shown(value)} {_FIX}")


class _IntOrString:
    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        types = [{"type": "integer"}, {"type": "string"}]
        return {"anyOf": types, "pattern": _PATTERN, "x-kubernetes-int-or-string": True}


CountOrPercent = Annotated[int | str, BeforeValidator(_read), _IntOrString()]
"""A whole number, or a percentage as text."""


def count_of(part: int | str, total: int) -> int:
    """Returns how many of `total` a count or a percentage means: percentages are rounded up, at most all."""
    wanted = math.ceil(total * int(part[:-1]) / 100) if isinstance(part, str) else part
    return min(wanted, total)
