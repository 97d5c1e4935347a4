"""Numbers with units as they are written in objects: `100ms`, `10M`, `512Mi`, `"0.993"`.

Inside the code they are plain numbers (seconds as float, bytes and bit/s as int), so arithmetic needs no
conversion; only where an object is read or written do they become text.
"""

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{s: Decimal(1000) ** n for n, s in enumerate(["k", "M", "G", "T", "P", "E"], start=1)},
    **{s: Decimal(1024) ** n for n, s in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], start=1)},
}
DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h)$"
# As in k8s.io/apimachinery/pkg/api/resource, without a sign: no quantity of this API is negative.
QUANTITY_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE])?$"
SHARE_PATTERN = r"^(0(\.[0-9]+)?|1(\.0+)?)$"

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h)")
_QUANTITY = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)((?:[KMGTPE]i|[numkMGTPE])?|[eE][+-]?[0-9]+)")
_LARGEST = 2**63 - 1


def parse_duration(text: str) -> float:
    """Seconds that `text` (such as `100ms`) stands for; ValueError with a sentence otherwise."""
    if match := _DURATION.fullmatch(text):
        return float(match[1]) * UNITS[match[2]]
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise ValueError(f"{text} has no unit: write {text}ms or {text}s")
    raise ValueError(
        f'"{text}" is not a duration: write one number and a unit (us, ms, s, m, h), e.g. 100ms or 0.1s'
    )


def format_duration(seconds: float) -> str:
    """`seconds` as a duration with four significant digits in the unit that reads best (`87ms`, `24h`)."""
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{seconds} s cannot be written as a duration: it must be finite and not negative")
    if whole := next((u for u in ("h", "m") if seconds and seconds % UNITS[u] == 0), None):
        return f"{seconds / UNITS[whole]:.0f}{whole}"
    unit = next((u for u in ("s", "ms") if seconds >= UNITS[u]), "us")
    number = Decimal(f"{seconds / UNITS[unit]:.4g}")
    return f"{number:f}{unit}" if seconds else "0s"


def parse_quantity(text: str) -> int:
    """The whole number that a Kubernetes quantity stands for, rounded up as there; ValueError otherwise."""
    if match := _QUANTITY.fullmatch(text):
        suffix = match[2]
        try:
            scale = (
                Decimal("1" + suffix)
                if suffix[:1] in ("e", "E") and suffix[1:] not in ("", "i")
                else SUFFIXES[suffix]
            )
            value = math.ceil(Decimal(match[1]) * scale)
        except (ArithmeticError, ValueError):
            value = _LARGEST + 1
        if value <= _LARGEST:
            return value
        raise ValueError(f'"{text}" is too large: a quantity is at most 2^63 - 1')
    raise ValueError(
        f'"{text}" is not a quantity: write a number with at most one suffix, e.g. 3100000, 10M or 512Mi'
    )


def format_quantity(value: int) -> str:
    """`value` as a quantity, exactly: the largest suffix that leaves a whole number, decimal ones first."""
    for suffix in ("G", "M", "k", "Gi", "Mi", "Ki"):
        if value and value % int(SUFFIXES[suffix]) == 0:
            return f"{value // int(SUFFIXES[suffix])}{suffix}"
    return str(int(value))  # a Quantity's own str() comes back here


def parse_share(text: str) -> float:
    """A share between 0 and 1 written as text; ValueError with a sentence otherwise."""
    if re.fullmatch(SHARE_PATTERN.strip("^$"), text):
        return float(text)
    raise ValueError(f'"{text}" is not a share: write a decimal between 0 and 1 as text, e.g. "0.993"')


def _core(kind: type, parse: Callable[[str], Any], *, numbers: bool) -> CoreSchema:
    def read(value: object) -> object:
        if isinstance(value, kind):
            return value
        if isinstance(value, str):
            return kind(parse(value))
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            if numbers:
                return kind(value)
            if kind is Duration:
                raise ValueError(f"{value} has no unit: write {value}ms or {value / 1000:g}s")
        return parse(str(value))

    return core_schema.no_info_plain_validator_function(
        read, serialization=core_schema.to_string_ser_schema()
    )


class Duration(float):
    """Seconds; written as one number and a unit (us, ms, s, m, h), e.g. `100ms`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(parse_duration(text))

    def __str__(self) -> str:
        return format_duration(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _core(cls, parse_duration, numbers=False)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "maxLength": 32, "pattern": DURATION_PATTERN}


class Quantity(int):
    """Bytes or bit/s; written as a Kubernetes quantity, e.g. `3100000`, `10M`, `512Mi`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(parse_quantity(text))

    def __str__(self) -> str:
        return format_quantity(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _core(cls, parse_quantity, numbers=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"x-kubernetes-int-or-string": True, "maxLength": 32, "pattern": QUANTITY_PATTERN}


class Share(float):
    """A part of a whole; written as a decimal between 0 and 1 in text, e.g. `"0.993"`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(parse_share(text))

    def __str__(self) -> str:
        return f"{Decimal(f'{float(self):.4g}'):f}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _core(cls, parse_share, numbers=False)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "maxLength": 32, "pattern": SHARE_PATTERN}
