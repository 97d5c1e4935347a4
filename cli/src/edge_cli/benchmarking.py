"""Load for a service, and its figures."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final, Protocol

from edge_api.objects import Part
from edge_cli.errors import CommandError
from edge_cli.inference import Array, Reply, RequestError

QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
_BARS: Final = " ▏▎▍▌▋▊▉█"
_BUSY: Final = 429


@dataclass(frozen=True, slots=True)
class Sample:
    """A request. seconds: of its response. error: empty if answered. refused: the node was too busy."""

    seconds: float
    route: str = ""
    error: str = ""
    refused: bool = False


class Client(Protocol):
    """What sends requests."""

    def infer(self, feeds: Mapping[str, Array]) -> Reply: ...
    def close(self) -> None: ...


class BenchResult(Part):
    """Figures of a run. Latencies in milliseconds, by quantile such as p95; throughput in responses/s.

    in_time: share of all requests that were answered within the SLO; None without an SLO.
    """

    requests: int
    failed: int
    refused: int
    seconds: float
    throughput: float
    latency_ms: dict[str, float]
    mean_ms: float | None = None
    in_time: float | None = None
    routes: dict[str, int]
    errors: dict[str, int]


@dataclass
class Load:
    """Sends requests from several threads, each with a client of its own.

    Attributes:
        client: Makes a client; called once by each thread.
        rate: Requests per second of all threads together; None: each sends the next when it has a response.
        clock, sleep: Of the machine.
    """

    client: Callable[[], Client]
    feeds: Mapping[str, Array]
    threads: int
    rate: float | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    samples: list[Sample] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: float = 0.0
    _sent: int = 0

    def run(self, seconds: float, limit: int | None = None) -> float:
        """Sends for some seconds, or up to `limit` requests. Returns how long it took, in seconds."""
        began = self._next = self.clock()
        workers = [
            threading.Thread(target=self._work, args=(began + seconds, limit)) for _ in range(self.threads)
        ]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
        return self.clock() - began

    def _work(self, end: float, limit: int | None) -> None:
        client = self.client()
        try:
            while self._turn(end, limit):
                sample = self._ask(client)
                with self._lock:
                    self.samples.append(sample)
        finally:
            client.close()

    def _turn(self, end: float, limit: int | None) -> bool:
        """Waits until the next request is due; False if the run is over."""
        with self._lock:
            due = self._next
            self._next = due + 1 / self.rate if self.rate is not None else due
            if limit is not None:
                if self._sent >= limit:
                    return False
                self._sent += 1
        now = self.clock()
        if self.rate is not None and due > now:
            if due >= end:
                return False
            self.sleep(due - now)
        return self.clock() < end

    def _ask(self, client: Client) -> Sample:
        began = self.clock()
        try:
            reply = client.infer(self.feeds)
        except RequestError as error:
            return Sample(self.clock() - began, error=str(error), refused=error.code == _BUSY)
        except CommandError as error:
            return Sample(self.clock() - began, error=str(error))
        return Sample(reply.seconds, str(reply.parameters.get("route") or ""))


def result(samples: Sequence[Sample], seconds: float, slo: float | None = None) -> BenchResult:
    """Returns the figures. seconds: of the run. slo: latency of the SLO, in seconds."""
    answered = sorted(each.seconds for each in samples if not each.error)
    errors = Counter(each.error for each in samples if each.error)
    in_time = sum(each <= slo for each in answered) if slo is not None else 0
    return BenchResult(
        requests=len(samples),
        failed=sum(bool(each.error) and not each.refused for each in samples),
        refused=sum(each.refused for each in samples),
        seconds=round(seconds, 3),
        throughput=round(len(answered) / seconds, 2) if seconds > 0 else 0.0,
        latency_ms={f"p{100 * q:g}": _ms(quantile(answered, q)) for q in QUANTILES if answered}
        | ({"max": _ms(answered[-1])} if answered else {}),
        mean_ms=_ms(sum(answered) / len(answered)) if answered else None,
        in_time=round(in_time / len(samples), 4) if slo is not None and samples else None,
        routes=dict(Counter(each.route for each in samples if each.route).most_common()),
        errors=dict(errors.most_common(3)),
    )


def quantile(ascending: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least `share` of the values do not exceed."""
    return ascending[max(ceil(share * len(ascending)) - 1, 0)]


def histogram(samples: Sequence[Sample], width: int = 40, bins: int = 12) -> list[str]:
    """Returns a picture of the latencies: a bar for each of some intervals up to the 99th percentile."""
    answered = sorted(each.seconds for each in samples if not each.error)
    if not answered:
        return []
    low, high = answered[0], max(quantile(answered, 0.99), answered[0] * 1.01)
    step = (high - low) / bins
    counts = [0] * (bins + 1)
    for each in answered:
        counts[min(int((each - low) / step), bins)] += 1
    most = max(counts)
    lines = []
    for index, count in enumerate(counts):
        start = f"{_ms(low + index * step):>9.4g} ms"
        lines.append(f"{start} {'>' if index == bins else ' '} {_bar(count / most, width)} {count}")
    return lines


def _bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
    full, rest = divmod(eighths, 8)
    return _BARS[-1] * full + (_BARS[rest] if rest else "")


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)
