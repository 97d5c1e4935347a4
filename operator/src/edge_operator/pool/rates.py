"""The rate of requests that an entry node of a service is planned for. Pure.

A service declares it in spec.load.rate. Otherwise it is measured from the counters that runtimes report: the
rate at or below which 95 % of the requests of recent days arrived, a request of a day ago counting half. Idle
time has no weight. Rates fall into bands a factor of 1.41 wide. The planned rate rises if the measured one is
in a higher band, and falls if that is two bands lower, so noise changes no plan.

A measured rate is reserved. The plan predicts waits because of it only if requests were late: a client that
sends its next request after each response makes a node busy all the time, and waits for nothing.

What a plan was made with is an annotation of the Placement, from which an operator that restarts continues.
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
"""Share of the requests, in intervals that missed the SLO, from which waits are planned."""
IN_TIME: Final = 0.01
"""Share below which they are not planned any more."""
BUSIEST: Final = 0.8
"""Most compute seconds per second that requests which are in time reserve for the route in use."""
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
    """Requests per second to plan for.

    assumed: whether it is neither declared nor comes with late requests; it is then reserved, but no waits
    are predicted.
    """

    value: float
    assumed: bool = False


ASSUMED: Final = Rate(DEFAULT, assumed=True)


def measured(known: Measured | None, placement: Placement, at: float) -> Measured:
    """Returns what is measured after a look at a Placement at second `at` of Unix time.

    known: the result of the last look; None for an operator that has just started. It is the result itself
    if no request was counted since. The time since the last increase counts, so that a burst after a pause
    has an effect from its second report on.
    """
    now, uid = total(counters({placement.spec.node: placement})), placement.metadata.uid or ""
    noted = _noted(placement)
    if known is None:
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


def planned_rate(declared: float, found: Measured | None, placement: Placement | None, at: float) -> Rate:
    """Returns the rate to plan for at second `at` of Unix time.

    declared: spec.load.rate; 0 without one. placement: the published one, with the rate that it was planned
    for; None without one.
    """
    if declared > 0:
        return Rate(declared)
    before = published_rate(placement)
    if found is None:
        return before or ASSUMED
    if at - found.at > FORGOTTEN:
        return ASSUMED
    weight = sum(band.requests for band in found.bands.values())
    if weight < LEAST_REQUESTS:
        return before or ASSUMED
    late = sum(band.missed for band in found.bands.values()) / weight
    waits = late > (LATE if before is None or before.assumed else IN_TIME)
    rate = _quantile(found.bands, weight)
    if not waits:
        rate = min(rate, _sustained(placement))
    band = _band(rate)
    if before is not None and _band(before.value) - 1 <= band <= _band(before.value):
        return Rate(before.value, assumed=not waits)
    return Rate(_lower_edge(band), assumed=not waits)


def moved(declared: float, found: Measured, placement: Placement, at: float) -> bool:
    """Whether the measured rate left the one that a Placement was planned for, so that a plan is due."""
    if declared > 0:
        return False
    return planned_rate(declared, found, placement, at) != (published_rate(placement) or ASSUMED)


def published_rate(placement: Placement | None) -> Rate | None:
    """Returns the measured rate that a Placement was planned for; None if it was planned for another one."""
    noted = _noted(placement)
    return None if noted is None else noted[0]


def annotations(
    rate: Rate, declared: float, found: Measured | None, placement: Placement | None
) -> dict[str, str]:
    """Returns the annotation of the Placement that is planned for a rate; none if that was not measured.

    It does not change while the rate stays, so that measurements cost no writes. placement: the one before.
    """
    if declared > 0 or found is None or rate == ASSUMED:
        return {}
    if placement is not None and published_rate(placement) == rate:
        return {RATE_ANNOTATION: placement.metadata.annotations[RATE_ANNOTATION]}
    text = {
        "rate": rate.value,
        "assumed": rate.assumed,
        "uid": found.uid,
        "at": int(found.at),
        "counted": list(found.counted),
        "bands": {str(index): [round(w, 1) for w in band] for index, band in sorted(found.bands.items())},
    }
    return {RATE_ANNOTATION: json.dumps(text)}


def _noted(placement: Placement | None) -> tuple[Rate, Measured] | None:
    """Returns what a Placement's annotation says; None if it has none, or not as written."""
    text = placement.metadata.annotations.get(RATE_ANNOTATION) if placement is not None else None
    if text is None:
        return None
    try:
        found = json.loads(text)
        rate = Rate(float(found["rate"]), bool(found["assumed"]))
        requests, met = map(int, found["counted"])
        bands = {
            int(index): Band(float(weights[0]), float(weights[1]))
            for index, weights in found["bands"].items()
        }
        uid, at = str(found["uid"]), float(found["at"])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None
    good = 0 < rate.value < inf and 0 <= met <= requests
    good = good and all(0 <= band.missed <= band.requests < inf for band in bands.values())
    return (rate, Measured(uid, at, Counters(requests, met), MappingProxyType(bands))) if good else None


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


def _sustained(placement: Placement | None) -> float:
    """Returns the rate at which the planned route keeps the entry node busy for BUSIEST of the time.

    Requests in time show that the node keeps up; a profile that is a little too slow must not refute it.
    """
    if placement is None:
        return inf
    link = placement.status.link if placement.status is not None else None
    bandwidth = inf if link is None or link.bandwidth is None else float(link.bandwidth)
    routes = placement.spec.routes
    route = next((each for each in routes if each.min_bandwidth <= bandwidth), routes[-1])
    here = sum(float(stage.predicted_compute or 0.0) for stage in route.stages if stage.address is None)
    return BUSIEST / here if here > 0 else inf
