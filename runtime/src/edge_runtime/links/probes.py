"""Size of a probe, and the rate measured by its response. Pure."""

from __future__ import annotations

import contextlib
from typing import Final

import orjson

from edge_planning.links.estimates import RateSample
from edge_runtime.links.probe_budgets import LEAST, MOST
from edge_runtime.links.transfer_rates import FinishedTransfer, fastest, sample_of_transfer

_FAR_JITTER: Final = 0.0005
_SECONDS, _BUSY_SECONDS = 0.15, 0.03


def wanted(rate: float | None, *, busy: bool, window: int, round_trip: float | None) -> int:
    """Bytes of a probe that measures a link of about this rate (bit/s, None: unknown).

    busy: whether requests are expected, which would wait behind the probe. On a link with so much bandwidth
    and delay that the sender's window (bytes) would be used up before the first acknowledgement, the probe is
    as large as the window.
    """
    size = min(max(int((rate or 0) * (_BUSY_SECONDS if busy else _SECONDS) / 8), LEAST), MOST)
    if window and rate is not None and (round_trip or 0.0) * rate / 8 > window:
        return max(min(size, window), LEAST)
    return size


def measured(
    body: bytes, size: int, here: FinishedTransfer | None, window: int, round_trip: float, at: float
) -> RateSample | None:
    """The sample of a probe of `size` bytes with the response `body`.

    A runtime and the model store report their own times, which exclude delays here. Triton reports none, so
    its probes are measured like any transfer, by what this node saw of them: `here`, if known.
    """
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
        said = orjson.loads(body)
        first, took = max(int(said.get("first", 0)), 0), float(said["seconds"])
        rest = size - first
        if rest >= size // 2 and took > 2 * _FAR_JITTER:
            most = fastest(rest, took - _FAR_JITTER, max(window - first, 1) if window else 0, round_trip)
            return RateSample(at, 8.0 * rest / took, most, took)
    return sample_of_transfer(here, at) if here is not None else None
