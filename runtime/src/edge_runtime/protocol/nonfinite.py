"""NaN and infinities in JSON, which RFC 8259 does not define.

Python's json, tritonclient and Triton write NaN, Infinity and -Infinity, so they are read and written here.
The fast parser rejects them; only then, or if the text contains such a word, the slower parser is used.
"""

from __future__ import annotations

import json
import re
from typing import Final

import numpy as np
import orjson

from edge_runtime.errors import BadRequest
from edge_runtime.json_values import Json
from edge_runtime.tensors import Array


class Constant(float):
    """A value named in the text, as opposed to a number that is too large for a float."""


_CONSTANTS: Final = {word: Constant(word) for word in ("NaN", "Infinity", "-Infinity")}
_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def read(text: bytes | memoryview) -> Json:
    """Parses JSON in which NaN and infinities become Constants. Raises BadRequest."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        data = bytes(text)
        if b"NaN" not in data and b"Infinity" not in data:
            raise BadRequest(f"body: the header is not JSON ({error})") from error
    try:
        document = json.loads(data.decode(), parse_constant=_CONSTANTS.__getitem__)
        if _HALF.search(data):  # a lone surrogate could not be written into any response
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError as error:
        raise BadRequest("body: the header is nested too deeply: send a flatter one") from error
    except UnicodeError as error:
        raise BadRequest("body: the header is not UTF-8 (a lone surrogate, or an invalid byte)") from error
    except ValueError as error:
        raise BadRequest(f"body: the header is not JSON ({error})") from error
    return document


def written(array: Array) -> orjson.Fragment:
    """A flat array of floats as JSON, with the words of Python and Triton for values that are not finite."""
    words = ["NaN" if value != value else "Infinity" if value > 0 else "-Infinity" for value in _of(array)]
    # The fast writer writes null for exactly these.
    between = orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY).split(b"null")
    parts = [part for pair in zip(between, map(str.encode, words), strict=False) for part in pair]
    return orjson.Fragment(b"".join([*parts, between[-1]]))


def _of(array: Array) -> list[float]:
    found: list[float] = array[~np.isfinite(array)].tolist()
    return found
