"""A link's bandwidth over time, and the end of transfers, integrated exactly."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from math import ceil, floor, inf, isfinite

import numpy as np
import numpy.typing as npt

from edge_planning.errors import require

Floats = npt.NDArray[np.float64]
Column = Sequence[float] | Floats
LEAST_RATE = 1e-3  # bit/s; lower rates count as 0, so that no division overflows


class Bandwidth:
    """Piecewise constant bandwidth: rates[i] (bit/s) holds from times[i] (s) to the next time.

    The times rise from 0. The last piece lasts until `period`, then everything repeats; without a period the
    last rate holds without limit. Instances are immutable.
    """

    __slots__ = ("_bits", "_rates", "_times", "bits", "period", "rates", "times", "total")

    def __init__(
        self, times: Sequence[float] | Floats, rates: Sequence[float] | Floats, period: float | None = None
    ) -> None:
        """Validates the values.

        Raises:
            BadValueError: Times do not rise from 0, a rate is negative or not finite, or the period does not
                exceed the last time.
        """
        self.times: Floats = np.asarray(times, dtype=np.float64)
        self.rates: Floats = np.asarray(rates, dtype=np.float64)
        require(self.times.ndim == 1 and len(self.times) > 0, "bandwidth: no pieces")
        require(self.times.shape == self.rates.shape, f"bandwidth: {len(times)} times but {len(rates)} rates")
        require(float(self.times[0]) == 0.0, f"bandwidth: begins at {self.times[0]} s instead of 0")
        require(bool(np.all(np.diff(self.times) > 0)), "bandwidth: times do not rise")
        require(isfinite(float(self.times[-1])), f"bandwidth: time {self.times[-1]} s must be finite")
        bad = self.rates[~(np.isfinite(self.rates) & (self.rates >= 0))]
        require(not len(bad), f"bandwidth: {bad[:1]} bit/s must be finite and >= 0")
        require(
            period is None or (isfinite(period) and period > self.times[-1]),
            f"bandwidth: period {period} s must exceed the last time, {self.times[-1]} s",
        )
        self.rates = np.where(self.rates < LEAST_RATE, 0.0, self.rates)
        self.period = period
        steps = np.diff(self.times) * self.rates[:-1]
        self.bits: Floats = np.concatenate(([0.0], np.cumsum(steps)))
        self.total = (
            inf if period is None else float(self.bits[-1] + (period - self.times[-1]) * self.rates[-1])
        )
        # Lists: scalar lookups in the event loop are several times faster than on arrays.
        self._times, self._rates, self._bits = self.times.tolist(), self.rates.tolist(), self.bits.tolist()

    @classmethod
    def constant(cls, rate: float) -> "Bandwidth":
        """Returns a constant rate (bit/s)."""
        return cls((0.0,), (rate,))

    def rate(self, moment: float) -> float:
        """Returns the rate in bit/s at a time."""
        phase = moment if self.period is None else moment % self.period
        return float(self._rates[bisect_right(self._times, phase) - 1])

    def carried(self, moment: float) -> float:
        """Returns the bits that a saturated link carries from 0 to a time."""
        cycles, phase = 0.0, moment
        if self.period is not None:
            cycles = floor(moment / self.period)
            phase = moment - cycles * self.period
        k = bisect_right(self._times, phase) - 1
        found: float = self._bits[k] + (phase - self._times[k]) * self._rates[k]
        return found + cycles * self.total if cycles else found

    def finish(self, start: float, bits: float) -> float:
        """Returns the end of a transfer that has the link alone from `start`; infinite if it never ends."""
        require(0 <= start < inf and bits >= 0, f"bandwidth: {bits} bits from {start} s must be >= 0")
        if bits <= 0:
            return start
        target = self.carried(start) + bits
        if self.total <= 0 or target == inf:
            return inf
        cycles = max(ceil(target / self.total) - 1, 0) if self.period is not None else 0
        if cycles:
            target -= cycles * self.total
        k = max(bisect_left(self._bits, target) - 1, 0)
        rate = self._rates[k]
        if rate <= 0:  # only after the last change: no bits follow, or all crossed just before
            return inf if self.period is None else max(start, (cycles + 1) * self.period)
        moment = self._times[k] + (target - self._bits[k]) / rate
        return float(max(start, moment + cycles * self.period if self.period is not None else moment))

    def carried_many(self, moments: Floats) -> Floats:
        """Vectorized `carried`."""
        cycles = np.zeros_like(moments) if self.period is None else np.floor(moments / self.period)
        phase = moments if self.period is None else moments - cycles * self.period
        k = np.searchsorted(self.times, phase, side="right") - 1
        found: Floats = self.bits[k] + (phase - self.times[k]) * self.rates[k]
        return found if self.period is None else found + cycles * self.total

    def finish_many(self, starts: Floats, bits: Floats | float) -> Floats:
        """Vectorized `finish`: each transfer has the link alone."""
        amount = np.broadcast_to(np.asarray(bits, dtype=np.float64), starts.shape)
        target = self.carried_many(starts) + amount
        if self.total <= 0:
            return np.where(amount > 0, np.inf, starts)
        cycles = np.zeros_like(target)
        if self.period is not None:
            cycles = np.maximum(np.ceil(target / self.total) - 1, 0.0)
            target = target - cycles * self.total
        k = np.maximum(np.searchsorted(self.bits, target, side="left") - 1, 0)
        rate = self.rates[k]
        with np.errstate(divide="ignore", invalid="ignore"):
            moment = self.times[k] + (target - self.bits[k]) / rate
        end = np.inf if self.period is None else self.period
        moment = np.where(rate > 0, moment, end)
        if self.period is not None:
            moment = moment + cycles * self.period
        return np.where(amount > 0, np.maximum(starts, moment), starts)

    def cut(self, outages: Iterable[tuple[float, float]], horizon: float) -> "Bandwidth":
        """Returns the bandwidth with 0 bit/s during the outages (from, until).

        After the horizon (s) and the last outage nothing repeats: the last rate holds.
        """
        spans = sorted(outages)
        require(isfinite(horizon) and horizon >= 0, f"bandwidth: horizon {horizon} s must be finite and >= 0")
        bad = next((span for span in spans if not 0 <= span[0] <= span[1]), None)
        require(bad is None, f"bandwidth: outage {bad} s must satisfy 0 <= from <= until")
        end = max([horizon, *(until for _, until in spans if isfinite(until))])
        pieces = self._unrolled(end)
        marks = {float(moment) for span in spans for moment in span if isfinite(moment)}
        times = sorted({*(float(t) for t in pieces.times), *marks})
        rates = [0.0 if any(start <= t < until for start, until in spans) else pieces.rate(t) for t in times]
        return Bandwidth(times, rates)

    def _unrolled(self, end: float) -> "Bandwidth":
        if self.period is None:
            return self
        cycles = np.arange(ceil(end / self.period) + 1)[:, None]
        return Bandwidth((self.times + cycles * self.period).ravel(), np.tile(self.rates, len(cycles)))
