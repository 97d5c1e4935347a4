"""The rate of requests that an entry node of a service is planned for. Pure.

A service declares it in spec.load.rate. Otherwise a small default is reserved, and requests are measured from
the counters that runtimes report: the rate at or below which 95 % of the requests of recent days arrived, a
request of a day ago counting half, and whether too many of them were late. Idle time has no weight. Rates
fall into bands a factor of 1.41 wide. The rate rises if the measured one is in a higher band, and falls if
that is two bands lower, so noise changes no plan.

Where a measured rate explains why a service has less than it would have alone, it is kept in an annotation of
the Placement, from which an operator that restarts continues. Others cost no write.
Times are those at which the operator saw the counters; clocks of other machines play no part.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor, inf, log2
from types import MappingProxyType
from typing import Final, NamedTuple

from edge_api import Placement
from edge_operator.names import RATE_ANNOTATION
from edge_operator.pool.slo import Counters, counters, total
from edge_planning.pools import Observed

DEFAULT: Final = 0.01
"""Requests per second before any are measured."""
QUANTILE: Final = 0.95
HALF_LIFE: Final = 86400.0
"""Seconds after which a request counts half."""
FORGOTTEN: Final = 7 * 86400.0
"""Seconds without a request after which the default applies again."""
LEAST_REQUESTS: Final = 20.0
"""Weight of the requests from which a rate is derived."""
LATE: Final = 0.05
"""Share of the requests, in intervals that missed the SLO, from which they count as late."""
IN_TIME: Final = 0.01
"""Share below which they no longer do."""
_SHORTEST: Final = 1.0
"""Seconds between two reports from which a rate is derived."""
_STEPS: Final = 2
"""Bands for a factor of two."""
_BANDS: Final = (-40, 40)


class Band(NamedTuple):
    """Weights of the requests that arrived at a rate, and of those in intervals that missed the SLO."""

    requests: float
    missed: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The requests to a service at an entry node, by the band of the rate at which they arrived.

    uid: of the Placement. at: second of Unix time at which the operator saw the last increase. counted: the
    counters then. bands: their weights then.
    """

    uid: str
    at: float
    counted: Counters
    bands: Mapping[int, Band] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second that are reserved. assumed: whether the service declares none."""

    value: float
    assumed: bool = False


ASSUMED: Final = Rate(DEFAULT, assumed=True)


def planned_rate(declared: float) -> Rate:
    """Returns the rate to reserve. declared: spec.load.rate; 0 without one."""
    return Rate(declared) if declared > 0 else ASSUMED


def measured(known: Measured | None, placement: Placement, at: float) -> Measured:
    """Returns what is measured after a look at a Placement at second `at` of Unix time.

    known: the result of the last look; None for an operator that has just started. It is the result itself
    if no request was counted since. The time since the last increase counts, so that a burst after a pause
    has an effect from its second report on.
    """
    now, uid = total(counters({placement.spec.node: placement})), placement.metadata.uid or ""
    if known is None:
        noted = _noted(placement)
        known = Measured(uid, at, now) if noted is None else noted[1]
    if known.uid != uid:  # a new Placement counts from 0
        return Measured(uid, at, now, known.bands)
    more = Counters(now.requests - known.counted.requests, max(now.met - known.counted.met, 0))
    elapsed = at - known.at
    if more.requests <= 0 or elapsed < _SHORTEST:
        return known
    decay = 0.5 ** (elapsed / HALF_LIFE)
    bands = {
        index: Band(band.requests * decay, band.missed * decay)
        for index, band in known.bands.items()
        if band.requests * decay >= 1
    }
    index = _band(more.requests / elapsed)
    before = bands.get(index, Band(0.0, 0.0))
    missed = more.requests if more.met < placement.spec.slo.objective_share * more.requests else 0
    bands[index] = Band(before.requests + more.requests, before.missed + missed)
    return Measured(uid, at, now, MappingProxyType(bands))


def observed(
    found: Measured | None, before: Observed | None, at: float, planned: Observed | None = None
) -> Observed | None:
    """Returns the requests to plan with at second `at` of Unix time; None as long as too few are known.

    before: those of the last plan, or those published. planned: those that explain a shortage of the
    published table, if any: with another table, requests are in time, and remain late with the former one.
    """
    if found is None:
        return before
    if at - found.at > FORGOTTEN:
        return None
    weight = sum(band.requests for band in found.bands.values())
    if weight < LEAST_REQUESTS:
        return before
    missed = sum(band.missed for band in found.bands.values()) / weight
    late = missed > (IN_TIME if before is not None and before.late else LATE)
    band = _band(_quantile(found.bands, weight))
    rate = _lower_edge(band)
    if before is not None and _band(before.rate) - 1 <= band <= _band(before.rate):
        rate = before.rate
    return Observed(rate, late or (planned is not None and planned.late and rate >= planned.rate))


def published(placement: Placement | None) -> Observed | None:
    """Returns the requests that a Placement says it was planned with, if any."""
    noted = _noted(placement)
    return None if noted is None else noted[0]


def annotations(planned: Observed, found: Measured | None, placement: Placement | None) -> dict[str, str]:
    """Returns the annotation of a Placement that was planned with measured requests.

    It stays as long as they do. placement: the one before.
    """
    if placement is not None and (found is None or published(placement) == planned):
        kept = placement.metadata.annotations.get(RATE_ANNOTATION)
        return {} if kept is None else {RATE_ANNOTATION: kept}
    if found is None:
        return {}
    text = json.dumps(
        {
            "rate": planned.rate,
            "late": planned.late,
            "uid": found.uid,
            "at": int(found.at),
            "counted": list(found.counted),
            "bands": {str(index): [round(w, 1) for w in band] for index, band in sorted(found.bands.items())},
        }
    )
    return {RATE_ANNOTATION: text}


def _noted(placement: Placement | None) -> tuple[Observed, Measured] | None:
    """Returns what a Placement's annotation says; None if it has none, or not as written."""
    text = placement.metadata.annotations.get(RATE_ANNOTATION) if placement is not None else None
    if text is None:
        return None
    try:
        found = json.loads(text)
        planned = Observed(float(found["rate"]), bool(found["late"]))
        requests, met = map(int, found["counted"])
        bands = {
            int(index): Band(float(weights[0]), float(weights[1]))
            for index, weights in found["bands"].items()
        }
        uid, at = str(found["uid"]), float(found["at"])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None
    good = 0 <= met <= requests and all(0 <= band.missed <= band.requests < inf for band in bands.values())
    return (planned, Measured(uid, at, Counters(requests, met), MappingProxyType(bands))) if good else None


def _quantile(bands: Mapping[int, Band], weight: float) -> float:
    """Returns the rate at or below which QUANTILE of the requests arrived: the lower edge of its band."""
    reached = 0.0
    for index in sorted(bands):
        reached += bands[index].requests
        if reached >= QUANTILE * weight:
            return _lower_edge(index)
    return _lower_edge(max(bands))


def _band(rate: float) -> int:
    # An edge belongs to its own band, whatever the rounding.
    return min(max(floor(_STEPS * log2(rate) + 1e-3), _BANDS[0]), _BANDS[1])


def _lower_edge(band: int) -> float:
    return float(f"{2 ** (band / _STEPS):.3g}")
