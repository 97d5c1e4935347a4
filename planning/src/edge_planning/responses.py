"""Which bytes of a response count as a transfer. Runtimes use it, so it imports nothing."""

from typing import Final

SMALL_RESPONSE: Final = 4096
"""Bytes of a response that the round trip includes: a few packets, which need no acknowledgment between."""


def crossing(response: int) -> int:
    """Returns the bytes of a response that count as a transfer: all of them if it is not small."""
    return response if response > SMALL_RESPONSE else 0
