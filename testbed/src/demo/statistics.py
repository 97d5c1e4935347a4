"""Statistics of the request results: quantiles, attainment, accuracy. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

_OVERLOADED = ("[429]", "[StatusCode.RESOURCE_EXHAUSTED]")


@dataclass(frozen=True)
class RequestResult:
    """One request and its result.

    `sent` is in seconds of the monotonic clock, `latency` in seconds. `right`: whether the response was the
    image's label. `error`: why there was no response, or None.
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

    @property
    def refused(self) -> bool:
        """Whether the node said that it could not respond in time, over HTTP or gRPC."""
        return self.error is not None and self.error.startswith(_OVERLOADED)


@dataclass(frozen=True)
class LinkSample:
    """A bandwidth (bit/s) that a node's runtime measured; None if it considers the link down."""

    node: str
    at: float
    bps: float | None


@dataclass(frozen=True)
class RequestSummary:
    """Summary of requests: `attainment` of all, `accuracy` of those with a response; None if undefined.

    `failed` counts the refused ones, too.
    """

    requests: int
    failed: int
    refused: int
    attainment: float | None
    accuracy: float | None
    p50: float | None
    p95: float | None
    exit: str | None
    cut: str | None


def quantile(values: Sequence[float], share: float) -> float | None:
    """Returns the smallest value that at least `share` of all do not exceed (nearest rank); None if empty."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def rounded(value: float | None, digits: int = 4) -> float | None:
    """Rounds a number for the report; None stays None."""
    return None if value is None else round(value, digits)


def most_frequent(pairs: Iterable[tuple[str, str]]) -> tuple[str | None, str | None]:
    """Returns the most frequent (exit, cut) of the responses; the first one seen if there is a tie."""
    counted = Counter(pairs).most_common(1)
    return counted[0][0] if counted else (None, None)


def summarise(results: Sequence[RequestResult], slo_seconds: float) -> RequestSummary:
    """Returns the summary; a failed request lowers the attainment and is left out of accuracy and latency."""
    answered = [result for result in results if not result.failed]
    latencies = [result.latency for result in answered]
    in_time = sum(latency <= slo_seconds for latency in latencies)
    exit_, cut = most_frequent((a.exit, a.cut) for a in answered if a.exit is not None and a.cut is not None)
    return RequestSummary(
        requests=len(results),
        failed=len(results) - len(answered),
        refused=sum(result.refused for result in results),
        attainment=in_time / len(results) if results else None,
        accuracy=sum(result.right for result in answered) / len(answered) if answered else None,
        p50=quantile(latencies, 0.5),
        p95=quantile(latencies, 0.95),
        exit=exit_,
        cut=cut,
    )


def route_switches(results: Iterable[RequestResult]) -> int:
    """Returns how often the (exit, cut) changed between consecutive requests of a node."""
    by_node: dict[str, list[tuple[str | None, str | None]]] = {}
    for result in sorted(results, key=lambda a: a.sent):
        if not result.failed:
            by_node.setdefault(result.node, []).append((result.exit, result.cut))
    return sum(before != after for routes in by_node.values() for before, after in pairwise(routes))


def median_bps(samples: Iterable[LinkSample]) -> float | None:
    """Returns the median of the measurements; None if there are none or most say that the link is down."""
    values = [sample.bps for sample in samples]
    up = [value for value in values if value is not None]
    return quantile(up, 0.5) if 2 * len(up) > len(values) else None
