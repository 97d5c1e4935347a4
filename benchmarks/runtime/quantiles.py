"""Nearest-rank quantiles. Pure."""

import math
from collections.abc import Iterable, Sequence


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank quantile of ordered values."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def in_ms(seconds: Iterable[float]) -> dict[str, float]:
    """Returns `p50`, `p90`, `p99` and the maximum (`most`) of times in seconds, in ms; {} without times."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    found = {name: quantile(ordered, share) for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}
    return {name: round(1e3 * value, 3) for name, value in (found | {"most": ordered[-1]}).items()}
