"""Durations and quantities as the API writes them, in seconds and plain numbers as the code uses them."""

from __future__ import annotations

import re
from typing import Final

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([eE][+-]?\d+)?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_SCALES: Final = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `150ms`; ValueError with a sentence for anything else."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(
            f'"{text}" is not a duration: write a number and a unit (us, ms, s, m, h), e.g. 150ms'
        )
    return float(found[1]) * _SECONDS[found[2]]


def format_duration(seconds: float) -> str:
    """A duration in ms to the microsecond, from a second upward in s to the millisecond."""
    value, unit = (seconds, "s") if seconds >= 1 else (max(seconds, 0.0) * 1000, "ms")
    return f"{value:.3f}".rstrip("0").rstrip(".") + unit


def parse_quantity(text: str | float) -> float:
    """The number of a Kubernetes quantity such as `3100000`, `10M` or `512Mi`;
    ValueError for anything else.
    """
    if isinstance(text, int | float):
        return float(text)
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(
            f'"{text}" is not a quantity: write a number with an optional suffix, e.g. 3100000, 10M, 512Mi'
        )
    return float(found[1] + (found[2] or "")) * (_SCALES[found[3]] if found[3] else 1.0)
