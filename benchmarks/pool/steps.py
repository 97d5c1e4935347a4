"""How long a new route table takes after a step of the bandwidth of an entry node's link.

Two services at one node declare a rate of which the node can compute only one by the whole model. On a fast
link their requests go to Triton. On a slow one they stay at the node, so one of the services gets an earlier
exit: the operator has to plan both again. The entry nodes switch routes within their tables before that.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from benchmarks.pool.services import HOSTNAME, NAMESPACE, edge_pool, service
from benchmarks.pool.site import DIGITS, Site
from edge_api.quantities import parse_duration, parse_quantity

_NODE: Final = "edge-a"
_NAMES: Final = ("step-0", "step-1")
_SPEED: Final = 0.25
"""Cores of the node, so that one request at a time is a load."""
_SHARE: Final = 0.6
"""Of the node's time that the requests of one service take by the whole model there."""
_FAST: Final = 8.0
_SLOW: Final = 0.25
"""Bandwidths, relative to what the requests of both services need at their rate."""
_QUIET: Final = 10.0
"""Seconds without a change after which a step has settled; runtimes then report changes at once again."""
_COLUMNS: Final = (
    ".metadata.name",
    ".metadata.generation",
    ".status.observedGeneration",
    ".status.loaded",
    ".status.activeRoute",
    ".status.link.bandwidth",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a Placement had at a time, in seconds of the monotonic clock."""

    at: float
    name: str
    generation: int
    observed: int
    loaded: bool
    route: str
    bandwidth: float


@dataclass(frozen=True, slots=True)
class Lags:
    """Seconds from a step to its first report, the first switch and the last table; None: there was none."""

    reported: float | None
    switched: float | None
    table: float | None


def measure(site: Site, *, quick: bool) -> dict[str, object]:
    """Returns the lags of steps down and up: of the runtime's switch and report, and of the operator's table.

    `steps` counts steps, `new_tables` those after which a Placement had a new table in use.
    """
    site.clear()
    node, link = site.bed.node(_NODE), site.bed.link(_NODE)
    node.set_speed(_SPEED)
    entries = {HOSTNAME: _NODE}
    made = [service(name, pool="bench", file=DIGITS, entries=entries) for name in _NAMES]
    try:
        site.apply([edge_pool(), *made])
        site.wait_ready(_NAMES)
        rate, bandwidth = _demand(site)
        site.say(f"{rate:.1f} requests/s of each service, {bandwidth / 1e6:.2f} Mbit/s of both")
        for each in made:
            each["spec"]["load"] = {"rate": rate}
        link.set_rate(_FAST * bandwidth)
        site.apply(made)
        site.wait_ready(_NAMES)
        lags = []
        client = site.client(_NODE, "--every", "0.1", *site.hosts(_NAMES, _NODE))
        try:
            with _watched(site) as seen:
                _settle(site, seen, "the first tables", time.monotonic())
                for number in range(4 if quick else 20):
                    step = time.monotonic()
                    link.set_rate((_SLOW, _FAST)[number % 2] * bandwidth)
                    _settle(site, seen, f"step {number + 1}", step)
                    lags.append(lags_of(seen(), step))
                    site.say(f"step {number + 1}: {lags[-1]}")
        finally:
            client.communicate("")
    finally:
        link.set_rate(None)
        node.set_speed(None)
        site.clear()
    return {
        "steps": len(lags),
        "new_tables": sum(each.table is not None for each in lags),
        **_summary("table", [each.table for each in lags]),
        **_summary("switch", [each.switched for each in lags]),
        **_summary("report", [each.reported for each in lags]),
    }


def lags_of(seen: list[Seen], step: float) -> Lags:
    """Returns what happened after a step, by the states of the Placements in the order of time."""
    before: dict[str, Seen] = {}
    reported = switched = table = None
    for each in seen:
        last = before.get(each.name)
        before[each.name] = each
        if last is None or each.at < step:
            continue
        if each.bandwidth != last.bandwidth and reported is None:
            reported = each.at - step
        if each.route != last.route and switched is None:
            switched = each.at - step
        if each.loaded and each.observed == each.generation != last.observed:
            table = each.at - step
    return Lags(reported, switched, table)


def _demand(site: Site) -> tuple[float, float]:
    """Returns a service's requests a second, and the bit/s of the inputs of both services."""
    placement = site.get("placement", f"{_NAMES[0]}.{_NODE}", "-n", NAMESPACE)
    alone = next(each for each in placement["spec"]["routes"] if len(each["stages"]) == 1)
    rate = _SHARE / float(parse_duration(alone["predictedLatency"]))
    profile = site.get("modelprofile", _NAMES[0], "-n", NAMESPACE)
    first, *_ = profile["spec"]["model"]["exits"][-1]["cuts"]
    return rate, 2 * rate * 8 * float(first["bytes"])


@contextmanager
def _watched(site: Site) -> Iterator[Callable[[], list[Seen]]]:
    """Follows the Placements; yields a function that returns their states so far, in the order of time."""
    # kubectl replaces tabs by spaces.
    columns = '{"|"}'.join(f"{{{each}}}" for each in _COLUMNS)
    argv = site.bed.client_command("kubectl", ["get", "placements", "-n", NAMESPACE, "--watch"])
    process = subprocess.Popen(
        [*argv, "-o", f'jsonpath={columns}{{"\\n"}}'], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines, found = process.stdout, list[Seen]()

    def read() -> None:
        for line in lines:
            found.append(_seen(line.rstrip("\n").split("|"), time.monotonic()))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield lambda: list(found)
    finally:
        process.terminate()
        process.wait()
        reader.join()


def _seen(values: list[str], now: float) -> Seen:
    name, generation, observed, loaded, route, bandwidth = values
    rate = float(parse_quantity(bandwidth)) if bandwidth else 0.0
    return Seen(now, name, int(generation), int(observed or 0), loaded == "true", route, rate)


def _settle(site: Site, seen: Callable[[], list[Seen]], what: str, begin: float) -> None:
    """Waits until all tables are in use, and neither a table nor a route has changed for _QUIET seconds."""

    def done() -> bool:
        newest: dict[str, Seen] = {}
        changed = begin
        for each in seen():
            last = newest.get(each.name)
            newest[each.name] = each
            if last is not None and (each.generation, each.route) != (last.generation, last.route):
                changed = max(changed, each.at)
        in_use = all(each.loaded and each.observed == each.generation for each in newest.values())
        return len(newest) == len(_NAMES) and in_use and time.monotonic() - changed > _QUIET

    site.wait(what, done, 300, lambda: str(seen()[-4:]))


def _summary(what: str, lags: Sequence[float | None]) -> dict[str, float]:
    """Returns the median, the 99th percentile and the maximum of what happened, in seconds."""
    known = sorted(each for each in lags if each is not None)
    if not known:
        return {}
    p99 = float(np.percentile(known, 99))
    return {
        f"{what}_p50_s": round(median(known), 2),
        f"{what}_p99_s": round(p99, 2),
        f"{what}_max_s": round(known[-1], 2),
    }
