"""How messages quote values of manifests and requests: as YAML and JSON write them."""

import datetime
import json
import math
import re
from itertools import islice

_LONGEST = 80
_DEPTH = 4
_ITEMS = 40
"""Bounds of what is written of a value before it is cut: a request can be megabytes."""
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    ((list, tuple), "a list"),
    (dict, "a mapping"),
    ((datetime.date, datetime.datetime), "a date"),
)


_PLAIN = re.compile(r"[A-Za-z_][-./\w]*")
_OTHER = ("true", "false", "null", "none", "yes", "no", "on", "off", "y", "n")
"""Keys that YAML does not read as text unless they are quoted, or that look like a value of Python."""


def shown(value: object) -> str:
    """A value of a manifest as YAML writes it, at most 80 characters of it."""
    return _shown(value, yaml=True)


def shown_json(value: object) -> str:
    """A value of a request as JSON writes it, with NaN and Infinity, at most 80 characters of it."""
    return _shown(value, yaml=False)


def kind_of(value: object) -> str:
    """What a value is, in a word: text, a number, a list, a mapping, true or false, a date or null."""
    if value is None:
        return "null"
    return next((word for kinds, word in _KINDS if isinstance(value, kinds)), "binary data")


def _shown(value: object, *, yaml: bool) -> str:
    if isinstance(value, str):  # a lone surrogate cannot be encoded
        value = value.encode("utf-8", "backslashreplace").decode()
    text = value if isinstance(value, str) else None
    if text is not None and len(text) > _LONGEST:
        return f'{json.dumps(text[:60], ensure_ascii=False)[:-1]}…" ({len(text)} characters)'
    written = _written(value, _DEPTH, yaml=yaml).encode("utf-8", "backslashreplace").decode()
    return written if len(written) <= _LONGEST else f"{written[: _LONGEST - 1]}…"


def _written(value: object, depth: int, *, yaml: bool) -> str:
    if isinstance(value, dict | list | tuple) and not depth:
        return "…"
    if yaml and isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, dict):
        first = islice(value.items(), _ITEMS)
        items = (f"{_key(key, yaml=yaml)}: {_written(item, depth - 1, yaml=yaml)}" for key, item in first)
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_written(item, depth - 1, yaml=yaml) for item in value[:_ITEMS]) + "]"
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return "a number of more than 80 digits"
    if isinstance(value, str):
        return json.dumps(value[:_LONGEST], ensure_ascii=False)
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return kind_of(value)


def _key(key: object, *, yaml: bool) -> str:
    plain = yaml and isinstance(key, str) and _PLAIN.fullmatch(key) and key.lower() not in _OTHER
    return str(key)[:_LONGEST] if plain else _written(key, 1, yaml=yaml)
