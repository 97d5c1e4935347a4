"""Values of a document as JSON writes them, for the sentences that people read."""

from __future__ import annotations

import datetime
import json
from itertools import islice
from typing import Final

from edge_runtime.documents import Json

_LONGEST: Final = 80
_DEPTH: Final = 4
_ITEMS: Final = 40


def shown(value: Json) -> str:
    """A value as JSON has it, at most 80 characters of it."""
    # Half a character cannot be written into an answer.
    text = _sketch(value, _DEPTH).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}…"


def _sketch(value: Json, depth: int) -> str:
    """JSON of a value; of long and deep ones the beginning."""
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
