"""Statistics of the request results: quantiles, attainment, accuracy. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class RequestResult:
    """One request and what came of it.

    `sent` is in seconds of the monotonic clock, `latency` in seconds. `right`: whether the answer was the
    image's label. `error` says why there was no answer; None when there was one.
    """

    node: str
    sent: float
    latency: float
    right: bool = False
    exit: str | None = None
    cut: str | None = None
    error: str | None = None

    @property
    def failed(self) -> bool:
        return self.error is not None


@dataclass(frozen=True)
class LinkSample:
    """A bandwidth (bit/s) as a node's runtime measured it; None while it takes the link for down."""

    node: str
    at: float
    bps: float | None


@dataclass(frozen=True)
class Summary:
    """Of some requests: `attainment` over all, `accuracy` over those answered; None where there are none."""

    requests: int
    failed: int
    attainment: float | None
    accuracy: float | None
    p50: float | None
    p95: float | None
    exit: str | None
    cut: str | None


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value with at least `share` of them at or below it (nearest rank); None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def most_frequent(pairs: Iterable[tuple[str, str]]) -> tuple[str | None, str | None]:
    """The (exit, cut) most requests were answered by; of equals the one seen first."""
    counted = Counter(pairs).most_common(1)
    return counted[0][0] if counted else (None, None)


def summarise(results: Sequence[RequestResult], slo_seconds: float) -> Summary:
    """A failed request counts against the attainment, and not in accuracy or latency."""
    answered = [result for result in results if not result.failed]
    latencies = [result.latency for result in answered]
    in_time = sum(latency <= slo_seconds for latency in latencies)
    exit_, cut = most_frequent((a.exit, a.cut) for a in answered if a.exit is not None and a.cut is not None)
    return Summary(
        requests=len(results),
        failed=len(results) - len(answered),
        attainment=in_time / len(results) if results else None,
        accuracy=sum(result.right for result in answered) / len(answered) if answered else None,
        p50=quantile(latencies, 0.5),
        p95=quantile(latencies, 0.95),
        exit=exit_,
        cut=cut,
    )


def route_switches(results: Iterable[RequestResult]) -> int:
    """How often a node's requests, by when they were sent, went another (exit, cut) than the one before."""
    by_node: dict[str, list[tuple[str | None, str | None]]] = {}
    for result in sorted(results, key=lambda a: a.sent):
        if not result.failed:
            by_node.setdefault(result.node, []).append((result.exit, result.cut))
    return sum(before != after for routes in by_node.values() for before, after in pairwise(routes))


def median_bps(samples: Iterable[LinkSample]) -> float | None:
    """The middle of what was measured; None when nothing was, or the link was mostly taken for down."""
    values = [sample.bps for sample in samples]
    up = [value for value in values if value is not None]
    return quantile(up, 0.5) if 2 * len(up) > len(values) else None
