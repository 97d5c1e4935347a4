"""Numbers with units in the notation of the API: `100ms`, `10M`, `512Mi`, `"0.993"`. All are text.

Inside the code they are plain numbers (seconds as float, bytes and bit/s as int), so arithmetic needs no
conversion; only where an object is read or written do they become text.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from edge_api.words import shown

if TYPE_CHECKING:  # a command that reads a flag does without pydantic
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{s: Decimal(1000) ** n for n, s in enumerate(["k", "M", "G", "T", "P", "E"], start=1)},
    **{s: Decimal(1024) ** n for n, s in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], start=1)},
}
LONGEST = 32
"""Characters of a quantity or a duration. Both are bounded by their text before anything is computed."""
# As Go's time.ParseDuration, without a sign: no duration of this API is negative.
DURATION_PATTERN = r"^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$"
# As in k8s.io/apimachinery/pkg/api/resource, without a minus: no quantity of this API is negative. More than
# two digits of an exponent are beyond every quantity, and would be a number of so many digits.
QUANTITY_PATTERN = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2}|[KMGTPE]i|[numkMGTPE])?$"
SHARE_PATTERN = r"^(0(\.[0-9]+)?|1(\.0+)?)$"

_DURATION = re.compile(DURATION_PATTERN.strip("^$"))
_TERM = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6,
    "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_QUANTITY = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)((?:[KMGTPE]i|[numkMGTPE])?|[eE]([+-]?)([0-9]+))")
_LARGEST = 2**63 - 1
_KEPT = 4096
"""Texts and numbers whose conversion is remembered: objects repeat a few of them, and decimals are slow."""
_LONGEST = 1e12
"""A number without a unit beyond this one is not offered back with a unit."""
_FIXES = {
    "Duration": "a duration: write a number and a unit (ns, us, ms, s, m, h), e.g. 100ms or 1m30s",
    "Quantity": "a quantity: write a number with at most one suffix, e.g. 3100000, 10M or 512Mi",
    "Share": 'a share: write a decimal between 0 and 1 as text, e.g. "0.993"',
}
"""By the name of the class, how to write what a value is not."""


@functools.lru_cache(_KEPT)
def parse_duration(text: str) -> float:
    """Seconds of a duration as Go and Kubernetes write it (`100ms`, `1m30s`), to the nanosecond.

    ValueError with a message otherwise.
    """
    if len(text) <= LONGEST and _DURATION.fullmatch(text):
        terms = _TERM.findall(text)
        nanoseconds = sum(int(Decimal(number) * _NANOSECONDS[unit]) for number, unit in terms)
        if nanoseconds <= _LARGEST:
            return nanoseconds / 1e9
        raise ValueError(f"{shown(text)} is too long: a duration is at most 2562047h, which is 292 years")
    if len(text) <= LONGEST and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise ValueError(f"{text} has no unit: write {text}ms or {text}s")
    raise _not(Duration, text)


@functools.lru_cache(_KEPT)
def format_duration(seconds: float) -> str:
    """`seconds` as Kubernetes writes a duration (`87.1ms`, `1.5s`, `1m30s`, `24h0m0s`).

    Whole seconds are exact; other durations have four significant digits.
    """
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{seconds} s cannot be written as a duration: it must be finite and not negative")
    exact = Decimal(seconds if seconds == int(seconds) else f"{seconds:.4g}")
    nanoseconds = round(exact * _NANOSECONDS["s"])
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < _NANOSECONDS["s"]:
        unit = next(u for u in ("ms", "µs", "ns") if nanoseconds >= _NANOSECONDS[u])
        return f"{_decimal(nanoseconds, _NANOSECONDS[unit])}{unit}"
    minutes, rest = divmod(nanoseconds, _NANOSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    before = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{before}{_decimal(rest, _NANOSECONDS['s'])}s"


def _decimal(count: int, unit: int) -> str:
    text = f"{Decimal(count) / unit:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@functools.lru_cache(_KEPT)
def parse_quantity(text: str) -> int:
    """The whole number of a Kubernetes quantity, with what is beyond the point rounded up as there.

    ValueError with a message for anything else, for more than 2^63 - 1 and for a fraction of one.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= LONGEST else None
    if match is None:
        raise _not(Quantity, text)
    number, suffix, sign, exponent = match.groups()
    if exponent is not None and len(exponent) > 2:
        value = Decimal(_LARGEST + 1) if sign != "-" else Decimal("1e-99")
    else:
        value = Decimal(number) * (SUFFIXES[suffix] if exponent is None else Decimal(f"1{suffix}"))
    if value > _LARGEST:
        raise ValueError(f"{shown(text)} is too large: a quantity is at most 2^63 - 1")
    if 0 < value < 1:
        raise ValueError(
            f"{shown(text)} is a fraction of one, and there are no fractions of a byte or a bit: "
            f"write a whole number (m is a thousandth, M a million)"
        )
    return math.ceil(value)


def format_quantity(value: int) -> str:
    """`value` as a quantity, exactly: the largest suffix that leaves a whole number, decimal ones first."""
    for suffix in ("G", "M", "k", "Gi", "Mi", "Ki"):
        if value and value % int(SUFFIXES[suffix]) == 0:
            return f"{value // int(SUFFIXES[suffix])}{suffix}"
    return str(int(value))  # a Quantity's own str() comes back here


@functools.lru_cache(_KEPT)
def format_bandwidth(value: float) -> str:
    """`value` bit/s as a quantity with three significant digits (`19.9M`, `850k`)."""
    rounded = Decimal(f"{round(value):.3g}")
    suffix = next((s for s in ("G", "M", "k") if rounded >= SUFFIXES[s]), "")
    text = f"{rounded / SUFFIXES[suffix]:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + suffix


def format_attainment(share: float) -> str:
    """`share` rounded down, with two significant digits of what is missing to 1 (`0.97`, `0.9987`).

    So a share below an SLO objective such as 0.999 never reads as if it met it.
    """
    missing = 1 - share
    if missing <= 0:
        return "1"
    scale = 10 ** min(9, 1 - math.floor(math.log10(missing)))
    floored = math.floor(share * scale + 1e-6) / scale
    return f"{Decimal(f'{max(floored, 0.0):.9f}').normalize():f}"


def parse_share(text: str) -> float:
    """A share between 0 and 1 written as text; ValueError with a message otherwise."""
    if len(text) <= LONGEST and re.fullmatch(SHARE_PATTERN.strip("^$"), text):
        return float(text)
    raise _not(Share, text)


def _unquoted(number: float) -> str:
    if not 0 <= number < math.inf or number != int(number):
        return f"{shown(number)} is not a quantity: write a whole number from 0 up as text, e.g. 10M"
    return f'{shown(number)} is not text: write "{number}" in quotes, or with a suffix, e.g. 10M'


def _unitless(number: float) -> str:
    if not 0 <= number < _LONGEST:
        return str(_not(Duration, number))
    return f"{number} has no unit: write {number}ms or {number / 1000:g}s"


def _not(kind: type, value: object) -> ValueError:
    return ValueError(f"{shown(value)} is not {_FIXES[kind.__name__]}")


def _core(
    kind: type, base: type, parse: Callable[[str], Any], number: Callable[[float], str] | None = None
) -> CoreSchema:
    """base: of kind, or kind itself. number: why a number that is not text is refused."""
    from pydantic_core import core_schema

    def read(value: object) -> object:
        if isinstance(value, base):
            return kind(value)
        if isinstance(value, str):
            return kind(parse(value))
        if number is not None and isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError(number(value))
        raise _not(base, value)

    return core_schema.no_info_plain_validator_function(
        read, serialization=core_schema.to_string_ser_schema()
    )


class Duration(float):
    """Seconds; written as Kubernetes writes a duration, e.g. `100ms` or `1m30s`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(parse_duration(text))

    def __str__(self) -> str:
        return format_duration(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _core(cls, Duration, parse_duration, _unitless)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "maxLength": LONGEST, "pattern": DURATION_PATTERN}


class Quantity(int):
    """Bytes or bit/s; written as a Kubernetes quantity, e.g. `3100000`, `10M`, `512Mi`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(parse_quantity(text))

    def __str__(self) -> str:
        return format_quantity(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _core(cls, Quantity, parse_quantity, _unquoted)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "maxLength": LONGEST, "pattern": QUANTITY_PATTERN}


class Bandwidth(Quantity):
    """Measured bit/s; written with three significant digits, e.g. `19.9M`."""

    def __str__(self) -> str:
        return format_bandwidth(self)


class Share(float):
    """A part of a whole; written as a decimal between 0 and 1 in text, e.g. `"0.993"`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(parse_share(text))

    def __str__(self) -> str:
        return f"{Decimal(f'{round(float(self), 16):.4g}'):f}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _core(cls, Share, parse_share)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "maxLength": LONGEST, "pattern": SHARE_PATTERN}


class Attainment(Share):
    """A measured share of requests within the SLO; written rounded down, e.g. `"0.97"`."""

    def __str__(self) -> str:
        return format_attainment(self)
