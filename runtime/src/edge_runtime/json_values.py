"""JSON values: their type, and how messages quote them."""

from __future__ import annotations

import datetime
import json
from itertools import islice
from typing import Any, Final

Json = Any  # unchecked until a reader has looked at it

_LONGEST: Final = 80
_DEPTH: Final = 4
_ITEMS: Final = 40


def shown(value: Json) -> str:
    """A value as JSON, cut off after 80 characters."""
    # A lone surrogate cannot be encoded into a response.
    text = _sketch(value, _DEPTH).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}…"


def _sketch(value: Json, depth: int) -> str:
    """JSON of a value; only the beginning of long and deep ones."""
    if isinstance(value, list | tuple | dict) and not depth:
        return "…"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_sketch(item, depth - 1) for item in value[:_ITEMS])}]"
    if isinstance(value, dict):
        first = islice(value.items(), _ITEMS)
        return f"{{{', '.join(f'{_sketch(k, 1)}: {_sketch(item, depth - 1)}' for k, item in first)}}}"
    if isinstance(value, str):
        return json.dumps(value[:_LONGEST], ensure_ascii=False)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**_LONGEST:
        return f"a number of more than {_LONGEST} digits"
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return f"{type(value).__name__} data"
