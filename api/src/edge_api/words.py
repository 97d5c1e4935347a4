"""Values of a manifest in the words of YAML, for sentences that people read."""

import datetime
import json
import math

_LONGEST = 80
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    ((list, tuple), "a list"),
    (dict, "a mapping"),
    ((datetime.date, datetime.datetime), "a date"),
)


def shown(value: object) -> str:
    """A value as YAML and JSON write it, at most 80 characters of it."""
    if isinstance(value, str):  # a lone surrogate cannot be encoded
        value = value.encode("utf-8", "backslashreplace").decode()
    text = value if isinstance(value, str) else None
    if text is not None and len(text) > _LONGEST:
        return f'{json.dumps(text[:60], ensure_ascii=False)[:-1]}…" ({len(text)} characters)'
    written = _written(value)
    return written if len(written) <= _LONGEST else f"{written[: _LONGEST - 1]}…"


def kind_of(value: object) -> str:
    """What a value is, in a word: text, a number, a list, a mapping, true or false, a date or null."""
    if value is None:
        return "null"
    return next((word for kinds, word in _KINDS if isinstance(value, kinds)), "binary data")


def _written(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)}: {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_written(item) for item in value) + "]"
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return "a number of more than 80 digits"
    if value is None or isinstance(value, bool | int | float | str):
        return json.dumps(value, ensure_ascii=False)
    return kind_of(value)


def _key(key: object) -> str:
    return key if isinstance(key, str) else _written(key)
