"""Parses and formats rates of links, and parses their loss."""

from __future__ import annotations

import re

from testbed.errors import BadValueError

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_RATE = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>[kKmMgG]?)")
LEAST_LOSS = 1e-4
SLOWEST_BPS, FASTEST_BPS = 10_000.0, 10e9


def parse_rate(text: str) -> float | None:
    """Parses `250k`, `2M`, `0.25M`, `1000000` in bit/s; `none` means a link without shaping."""
    if text.strip().lower() == "none":
        return None
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise BadValueError(f"--rate {text}: not a rate in bit/s; use e.g. 250k, 2M, or none for no limit")
    return checked_rate(float(match["number"]) * _UNITS[match["unit"].lower()])


def checked_rate(bps: float) -> float:
    """Returns the rate. Raises BadValueError if the shaper cannot keep it."""
    if not SLOWEST_BPS <= bps <= FASTEST_BPS:
        raise BadValueError(f"rate {bps:g} bit/s: cannot be shaped; use 10k to 10G, or --cut to cut the link")
    return bps


def format_rate(bps: float | None) -> str:
    """Formats a rate in bit/s so that `parse_rate` can read it."""
    if bps is None:
        return "unshaped"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if bps >= size:
            return f"{bps / size:g}{unit}"
    return f"{bps:g}"


def parse_loss(text: str) -> float | None:
    """Parses a share of packets such as `0.01`; `none` means a link without loss."""
    if text.strip().lower() == "none":
        return None
    try:
        return checked_loss(float(text))
    except ValueError:
        raise BadValueError(
            f"--loss {text}: not a share of packets; use e.g. 0.01 for one in a hundred, or none"
        ) from None


def checked_loss(share: float) -> float:
    """Returns the share. Raises BadValueError unless it is between 0 and 1, or below what is drawn."""
    if not LEAST_LOSS <= share < 1:
        raise BadValueError(f"loss {share:g}: cannot be planted; use {LEAST_LOSS:g} to 0.9999, or none")
    return share
