"""Values of flags: each reads a text, or raises argparse.ArgumentTypeError with what to write."""

from __future__ import annotations

import argparse
from typing import Final

LONGEST_SECONDS: Final = 3600


def quantity(text: str) -> float:
    """A Kubernetes quantity."""
    from edge_api.quantities import parse_quantity

    try:
        return parse_quantity(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def duration(text: str) -> float:
    """A duration above 0, at most an hour, in seconds."""
    from edge_api.quantities import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0 < seconds <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not between 0 and {LONGEST_SECONDS} s: write a duration such as 30s'
        )
    return seconds


def count(text: str) -> int:
    """A whole number of 1 or more."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number: write 1 or more') from None
    if number < 1:
        raise argparse.ArgumentTypeError(f'"{number}" is less than 1: write 1 or more')
    return number


def port(text: str) -> int:
    """A port, or 0 for a free one."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f'"{text}" is not a port: write 1 to 65535, or 0 for a free port')
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds above 0, at most an hour."""
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a number of seconds: write one such as 0.6'
        ) from None
    if not 0 < seconds <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not between 0 and {LONGEST_SECONDS} seconds: write one such as 0.6'
        )
    return seconds
