"""Durations and quantities as the API writes them, in seconds and plain numbers as the code uses them.

The grammars are Kubernetes': Go's durations and resource.Quantity, without a minus. Both are bounded by their
text before anything is computed. `tests/contract` holds this module and the operator's to the same values.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

from edge_runtime.json_values import shown

_LONGEST: Final = 32
_LARGEST: Final = 2**63 - 1
_DURATION: Final = re.compile(r"((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+")
_TERM: Final = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS: Final = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6,
    "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_QUANTITY: Final = re.compile(
    r"\+?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[eE]([+-]?[0-9]+))?"
)
_SCALES: Final = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9),
    "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30),
    "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


def parse_duration(text: object) -> float:
    """Seconds of a duration such as `150ms` or `1m30s`; ValueError with a sentence for anything else."""
    if isinstance(text, str) and len(text) <= _LONGEST and _DURATION.fullmatch(text):
        terms = _TERM.findall(text)
        nanoseconds = sum(int(Decimal(number) * _NANOSECONDS[unit]) for number, unit in terms)
        if nanoseconds <= _LARGEST:
            return nanoseconds / 1e9
        raise ValueError(f"{shown(text)} is too long: a duration is at most 2562047h, which is 292 years")
    raise ValueError(
        f"{shown(text)} is not a duration: write a number and a unit (ns, us, ms, s, m, h), e.g. 150ms"
    )


def format_duration(seconds: float) -> str:
    """A duration in ms to the microsecond, from a second upward in s to the millisecond."""
    value, unit = (seconds, "s") if seconds >= 1 else (max(seconds, 0.0) * 1000, "ms")
    return f"{value:.3f}".rstrip("0").rstrip(".") + unit


def parse_quantity(value: object) -> int:
    """The whole number of a Kubernetes quantity such as `3100000`, `10M` or `512Mi`, rounded up as there.

    ValueError with a sentence for what is none, for more than 2^63 - 1 and for a fraction of one.
    """
    number = _number(value)
    if number is None:
        raise ValueError(
            f"{shown(value)} is not a quantity: write a number with an optional suffix, "
            f"e.g. 3100000, 10M, 512Mi"
        )
    if number > _LARGEST:
        raise ValueError(f"{shown(value)} is too large: a quantity is at most 2^63 - 1")
    if 0 < number < 1:
        raise ValueError(
            f"{shown(value)} is a fraction of one, and there are no fractions of a byte or a bit: "
            f"write a whole number (m is a thousandth, M a million)"
        )
    return math.ceil(number)


def _number(value: object) -> Decimal | int | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if 0 <= value < math.inf and value == int(value) else None
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) and len(value) <= _LONGEST else None
    if found is None:
        return None
    number, suffix, exponent = found.groups()
    if exponent is None:
        return Decimal(number) * (_SCALES[suffix] if suffix else 1)
    if len(exponent.lstrip("+-")) > 2:  # beyond every quantity, and not worth so many digits
        return Decimal("1e-99") if exponent.startswith("-") else _LARGEST + 1
    return Decimal(number) * Decimal(f"1e{exponent}")
