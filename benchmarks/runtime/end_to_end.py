"""Compares requests over a shaped link with the minimum: compute, transfer and round trip.

Run: `.venv/bin/python -m benchmarks.runtime.end_to_end [--quick]`, as root on Linux. The runtime at one node
runs the head of a network, and a real Triton across the link the tail. Requests are sent one after the other
at each of five link rates, and the latency of each at the caller is divided by

    head + tail + (bytes on the wire - burst) / rate + round trip

head: the median of the head's session alone, paced like the requests. tail: the median of requests for the
tail to Triton on its own node. Blocks of both alternate with blocks of requests. Bytes on the wire are those
of one request as counted by the node's interface on the unshaped link: payload, HTTP, TCP, IP and Ethernet
headers. The shaper passes a burst of slightly more than one frame immediately; the burst is subtracted, and
the response, which is smaller than a burst, is not counted. The round trip is that of a TCP handshake.

`above_ms` is the median, `p50_ms`, minus this ideal. It has two parts that a runtime cannot avoid. The first
is `plain_transfer_ms - transfer_ms`, where `plain_transfer_ms` is the time for as many bytes between two
sockets over the same link after the runtime has ended. The second is `plain_server_ms`: the median latency of
a minimal server (`benchmarks.runtime.servers.bare`, with a model that computes means) at the same node for a
request of the same size, from the same caller at the same pace, alternating with the others. After a pause
all caches are cold, so this is several times the latency without pauses.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.runtime.commands import Say, command
from benchmarks.runtime.deployments import CUT_ROUTE, Deployment, PlannedRoute, deployed
from benchmarks.runtime.quantiles import quantile
from benchmarks.runtime.sites import burst_bytes

RATES: Final = (1e6, 2e6, 5e6, 10e6, 50e6)
AIM_P50, AIM_P99 = 1.05, 1.25
_PAUSE: Final = 0.05  # between requests: longer than the empty bucket needs to fill at the slowest rate
_ROUNDS: Final = {False: 10, True: 2}
_BLOCK: Final = {False: 30, True: 3}  # requests in a round
_PLAIN: Final = {False: 30, True: 3}
_SETTLING: Final = 5  # requests after a change of the rate, until the runtime has detected it


@dataclass(frozen=True, slots=True)
class Ideal:
    """The minimum that a request can take: seconds, bytes and bit/s."""

    head: float
    tail: float
    wire: int
    burst: int
    rate: float
    round_trip: float

    @property
    def transfer(self) -> float:
        """Seconds on the link."""
        return 8.0 * max(self.wire - self.burst, 0) / self.rate

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.head + self.tail + self.transfer + self.round_trip


def ratios(latencies: Sequence[float], ideal: Ideal) -> dict[str, float]:
    """The 50th and 99th percentile and the maximum of the latencies over the ideal."""
    ordered = sorted(latencies)
    found = {"p50": quantile(ordered, 0.5), "p99": quantile(ordered, 0.99), "most": ordered[-1]}
    return {name: round(seconds / ideal.seconds, 4) for name, seconds in found.items()}


def measure(folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """Returns `end_to_end`: the ratios at each rate with their parts, and the worst of each."""
    # While compute alone is measured the link is idle, unlike in normal use.
    plan = PlannedRoute(slo=10.0, needed=1e5, predicted=8.0, interval=30.0)
    rows: dict[str, dict[str, float]] = {}
    with deployed(folder, plan, say) as deployment:
        deployment.start_runtime()
        deployment.start_bare()
        wire, round_trip = bytes_on_the_wire(deployment), deployment.round_trip()
        say(f"a request is {wire} bytes on the wire, the round trip {1e3 * round_trip:.3f} ms")
        for rate in RATES:
            row = _at(deployment, rate, wire, round_trip, quick=quick)
            say(f"{rate / 1e6:g} Mbit/s: {row}")
            rows[f"{rate / 1e6:g}M"] = row
        deployment.stop_runtime()
        for rate in RATES:
            deployment.site.shape(rate)
            plain = deployment.send_plainly(wire, _PLAIN[quick], _PAUSE)
            rows[f"{rate / 1e6:g}M"]["plain_transfer_ms"] = round(1e3 * median(plain), 3)
    worst = {name: max(row[name] for row in rows.values()) for name in ("p50", "p99")}
    met = worst["p50"] <= AIM_P50 and worst["p99"] <= AIM_P99
    return {
        "end_to_end": {"rates": rows, "worst": worst, "aim": {"p50": AIM_P50, "p99": AIM_P99}, "met": met}
    }


def bytes_on_the_wire(deployment: Deployment) -> int:
    """The minimum that the interface counted for one request; others include a probe."""
    found = []
    for _ in range(10):
        before = deployment.site.sent()
        deployment.ask(1, 0.01)
        found.append(deployment.site.sent() - before)
    return min(found)


def _at(
    deployment: Deployment, rate: float, wire: int, round_trip: float, *, quick: bool
) -> dict[str, float]:
    deployment.site.shape(rate)
    deployment.ask(_SETTLING, _PAUSE)
    gap = 8.0 * wire / rate + _PAUSE
    latencies: list[float] = []
    heads: list[float] = []
    tails: list[float] = []
    bares: list[float] = []
    block = _BLOCK[quick]
    for _ in range(_ROUNDS[quick]):
        heads += deployment.run_head(block // 3, gap)
        tails += [reply["seconds"] for reply in deployment.ask_triton(block // 3, gap)]
        bares += [reply["seconds"] for reply in deployment.ask_bare(block // 3, gap)]
        for reply in deployment.ask(block, _PAUSE):
            if reply["status"] != 200 or reply["parameters"].get("route") != CUT_ROUTE:
                raise RuntimeError(f"at {rate:g} bit/s a request got no response over the link: {reply}")
            latencies.append(reply["seconds"])
    ideal = Ideal(median(heads), median(tails), wire, burst_bytes(rate), rate, round_trip)
    p50 = quantile(sorted(latencies), 0.5)
    parts = {
        "head": ideal.head,
        "tail": ideal.tail,
        "transfer": ideal.transfer,
        "p50": p50,
        "above": p50 - ideal.seconds,
        "plain_server": median(bares),
    }
    return {
        **ratios(latencies, ideal),
        "requests": len(latencies),
        **{f"{name}_ms": round(1e3 * seconds, 3) for name, seconds in parts.items()},
    }


if __name__ == "__main__":
    sys.exit(command("end_to_end", __doc__, measure))
