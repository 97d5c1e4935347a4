"""Quantiles of Prometheus histograms, from the text of two scrapes. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

_SAMPLE: Final = re.compile(r"^(?P<name>\w+)_bucket\{(?P<labels>.*)\} (?P<value>\S+)$", re.MULTILINE)
_LE: Final = re.compile(r'(?:^|,)le="(?P<le>[^"]+)"')
Buckets = dict[float, float]
"""Numbers of values up to a bound, by the bound."""


def buckets(text: str, name: str, labels: str = "") -> Buckets:
    """Returns the buckets of a histogram, summed over its labels. labels: text that they contain."""
    found: Buckets = {}
    for sample in _SAMPLE.finditer(text):
        le = _LE.search(sample["labels"])
        if sample["name"] == name and labels in sample["labels"] and le is not None:
            bound = math.inf if le["le"] == "+Inf" else float(le["le"])
            found[bound] = found.get(bound, 0.0) + float(sample["value"])
    return found


def since(now: Mapping[float, float], before: Mapping[float, float]) -> Buckets:
    """Returns the values that were added between two scrapes."""
    return {bound: count - before.get(bound, 0.0) for bound, count in now.items()}


def quantile(found: Mapping[float, float], share: float) -> float | None:
    """Returns a quantile as Prometheus' histogram_quantile does: linear within a bucket.

    None without values; the largest finite bound if it is beyond that.
    """
    bounds = sorted(found)
    total = found[bounds[-1]] if bounds else 0.0
    if not total:
        return None
    lower, below = 0.0, 0.0
    for bound in bounds:
        if found[bound] >= share * total:
            if math.isinf(bound):
                return lower
            inside = found[bound] - below
            return lower + (bound - lower) * ((share * total - below) / inside if inside else 1.0)
        lower, below = bound, found[bound]
    raise AssertionError("the last bucket has all values")
