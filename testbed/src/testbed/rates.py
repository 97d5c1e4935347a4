"""Link rates as people write them."""

from __future__ import annotations

import re

from testbed.errors import BadValueError

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_RATE = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>[kKmMgG]?)")
SLOWEST_BPS, FASTEST_BPS = 10_000.0, 10e9


def parse_rate(text: str) -> float | None:
    """`250k`, `2M`, `0.25M`, `1000000` in bit/s; `none` is a link without shaping."""
    if text.strip().lower() == "none":
        return None
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise BadValueError(f"--rate {text}: not a rate in bit/s; use e.g. 250k, 2M, or none for no limit")
    return checked_rate(float(match["number"]) * _UNITS[match["unit"].lower()])


def checked_rate(bps: float) -> float:
    """The rate itself, or a sentence that says what the shaper can hold."""
    if not SLOWEST_BPS <= bps <= FASTEST_BPS:
        raise BadValueError(
            f"rate {bps:g} bit/s: out of what can be shaped; use 10k to 10G, or --cut for nothing at all"
        )
    return bps


def format_rate(bps: float | None) -> str:
    """A rate in bit/s as `parse_rate` reads it."""
    if bps is None:
        return "unshaped"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if bps >= size:
            return f"{bps / size:g}{unit}"
    return f"{bps:g}"
