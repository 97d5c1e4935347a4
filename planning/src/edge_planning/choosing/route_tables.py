"""Route tables: Edgent's configuration map with exact breakpoints.

A candidate's latency is intercept + bits / bandwidth, so the bandwidths at which the choice can change are
known in closed form: where a candidate starts to meet the deadline, bits / (deadline - intercept), and where
two candidates are equally fast. Between two such points the choice is constant, so one evaluation per range
gives the whole map.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from edge_planning.choosing.candidates import Candidates, Floats, Integers, Mask
from edge_planning.costs.queueing import OVERLOADED
from edge_planning.problems import Tables

LatencyLine = tuple[float, float, float, float, float]  # intercept, bits, worth, accuracy, least bandwidth
Ranges = tuple[list[float], list[int], list[bool]]  # as a Map

# Routes whose times differ by less than a tenth count as equally fast.
_FASTER: Final = 0.9
# A local route of the ladder saves at least a quarter of the time: every route costs memory.
_STEP_DOWN: Final = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """The candidate of each range of bandwidth (bit/s), lowest first; starts[0] is 0."""

    starts: Floats
    index: Integers
    met: Mask

    def merged(self) -> list[tuple[int, float]]:
        """Returns (candidate, lowest bandwidth of its range), lowest first, with adjacent ranges joined."""
        keep = np.append(True, self.index[1:] != self.index[:-1])
        return [(int(i), float(start)) for i, start in zip(self.index[keep], self.starts[keep], strict=True)]


def full_map(options: Candidates, deadline: float) -> Map:
    """Returns Edgent's choice among all candidates at every bandwidth above 0."""
    return _mapped(options, deadline)


def limited_map(options: Candidates, chosen: Sequence[int], deadline: float) -> Map:
    """Returns the choice among a few candidates, each in one contiguous range.

    Where the deadline is met, this is Edgent's choice. Below, the candidate that met it down to the lowest
    bandwidth stays in use, and others that are useful only there can follow, down to the fastest.
    """
    starts, index, met = _limited(_lines(options), chosen, deadline)
    return Map(np.array(starts), np.array(index, dtype=np.int64), np.array(met))


def _lines(options: Candidates) -> list[LatencyLine]:
    columns = (options.intercept, options.bits, options.worth, options.accuracy, options.least_bandwidth)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _limited(lines: Sequence[LatencyLine], chosen: Sequence[int], deadline: float) -> Ranges:
    """Implements limited_map on plain numbers: for four entries, arrays cost more than they save."""
    points = {0.0}
    for n, i in enumerate(chosen):
        seconds, bits, _, _, least = lines[i]
        points.add(least)
        if bits > 0 and deadline > seconds:
            points.add(bits / (deadline - seconds))
        for j in chosen[:n]:
            more, less = bits - lines[j][1], lines[j][0] - seconds
            if more * less > 0:
                points.add(more / less)
    starts = sorted(points)
    middles = _middles(starts)
    picked = [_pick(lines, chosen, deadline, middle) for middle in middles]
    in_time = [met for _, met in picked]
    index = [i for i, _ in picked]
    if any(in_time) and not all(in_time):
        first = index[in_time.index(True)]  # of the lowest range in which the deadline is met
        spent = {i for i, met in picked if met and i != first}
        left = [i for i in chosen if i not in spent]
        for n, middle in enumerate(middles):
            if not in_time[n]:
                index[n] = _pick(lines, left, 0.0, middle)[0]
    return starts, index, in_time


def _pick(
    lines: Sequence[LatencyLine], chosen: Sequence[int], deadline: float, bandwidth: float
) -> tuple[int, bool]:
    best, index = (True, 0.0, 0.0, math.inf), chosen[0]
    for i in chosen:
        seconds, bits, worth, accuracy, least = lines[i]
        latency = seconds + bits / bandwidth + OVERLOADED * (bandwidth < least)
        late = latency > deadline
        key = (late, 0.0, 0.0, latency) if late else (late, -worth, -accuracy, latency)
        if key < best:
            best, index = key, i
    return index, not best[0]


def useful(options: Candidates) -> Candidates:
    """Returns the local candidates, and those that are the fastest of their exit and accuracy somewhere.

    If the objective is not accuracy, these are the local candidates, and those that no other equals or beats
    in latency, bytes and worth. Under load, a candidate that sends more can be excluded where one between the
    two is not, so all that no other beats in both latency and bytes are kept.
    """
    kept: list[int] = list(np.flatnonzero(options.local))
    if not np.array_equal(options.worth, options.accuracy):
        return options.select(np.array(sorted({*kept, *_undominated(options)}), dtype=np.int64))
    intercept, bits = options.intercept.tolist(), options.bits.tolist()
    alike: dict[tuple[int, float], list[int]] = {}
    loaded = bool(np.any(options.least_bandwidth > 0))
    for i in np.lexsort((options.bits, options.intercept)).tolist():
        if not options.local[i]:
            alike.setdefault((int(options.exit[i]), float(options.accuracy[i])), []).append(i)
    for indices in alike.values():
        kept += _front(bits, indices) if loaded else _envelope(intercept, bits, indices)
    return options.select(np.array(sorted(kept), dtype=np.int64))


def best_table(options: Candidates, deadline: float, limits: Tables) -> list[int]:
    """Returns the indices of the best table: at most limits.routes candidates, including the local one.

    The best table has the highest expected worth of responses in time over the distribution of bandwidth; if
    accuracy is the objective, that is the expected accuracy.
    This part is exact (a dynamic program over the exits' thresholds) among the tables whose thresholds differ
    by a factor of at least limits.safety, except that routes that add less than limits.least_accuracy are
    left out. Among equals, the mean latency decides; a local search adds and exchanges candidates.
    """
    local = _local(options, deadline)
    room = limits.routes - len(local)
    chosen = _worthiest(options, local, deadline, room, limits)
    if not local and not chosen:
        chosen = [int(np.argmin(options.latencies(limits.high)))]
    others = [i for i in range(len(options)) if not options.local[i]]
    lines = _lines(options)
    best = _value(lines, _limited(lines, [*local, *chosen], deadline), limits)
    improved = True
    while improved:
        improved = False
        for least_gain, trial in _neighbours(chosen, others, room, limits.least_gain):
            worth, latency = _value(lines, _limited(lines, [*local, *trial], deadline), limits)
            if worth >= best[0] - 1e-12 and latency < best[1] * (1 - least_gain):
                best, chosen, improved = (worth, latency), trial, True
    return [*local, *chosen]


def value(options: Candidates, chosen: Sequence[int], deadline: float, limits: Tables) -> tuple[float, float]:
    """Returns (expected worth of responses in time, mean latency in s) over the bandwidth distribution."""
    lines = _lines(options)
    return _value(lines, _limited(lines, chosen, deadline), limits)


def _value(lines: Sequence[LatencyLine], ranges: Ranges, limits: Tables) -> tuple[float, float]:
    shares, inverses = _shares(ranges[0], limits)
    worth = latency = 0.0
    for share, inverse, index, met in zip(shares, inverses, ranges[1], ranges[2], strict=True):
        seconds, bits, value, _, _ = lines[index]
        worth += share * value if met else 0.0
        latency += share * seconds + bits * inverse
    return worth, latency


def _shares(starts: Sequence[float], limits: Tables) -> tuple[list[float], list[float]]:
    """Returns P(b) and E[1/b] of each range of bandwidth b; on plain numbers for the default distribution."""
    if limits.distribution is not None:
        low, high = np.array(starts), np.array([*starts[1:], np.inf])
        found = limits.distribution
        return found.share(low, high).tolist(), found.inverse(low, high).tolist()
    edges = [min(max(start, limits.low), limits.high) for start in starts] + [limits.high]
    total = math.log(limits.high / limits.low)
    shares = [math.log(high / low) / total for low, high in pairwise(edges)]
    return shares, [(1 / low - 1 / high) / total for low, high in pairwise(edges)]


def _local(options: Candidates, deadline: float) -> list[int]:
    at_home = np.flatnonzero(options.local).tolist()
    return [_pick(_lines(options), at_home, deadline, 1.0)[0]] if at_home else []


def ladder(options: Candidates, local: int, most: int) -> list[int]:
    """Returns at most `most` local candidates that are faster and worth less than `local`, by falling worth.

    Each takes at most three quarters of the time of the one before, except that the fastest is always the
    last. The runtime takes them behind a queue, or while the node is slow. The times are the profile's:
    margins that are learned from requests would change the ladder with every contention.
    """
    worth, seconds = float(options.worth[local]), float(options.mean_head[local])
    faster: list[int] = []
    home = np.flatnonzero(options.local)
    for i in home[np.lexsort((options.mean_head[home], -options.worth[home]))].tolist():
        if options.worth[i] < worth and options.mean_head[i] < _FASTER * seconds:
            worth, seconds = float(options.worth[i]), float(options.mean_head[i])
            faster.append(i)
    if not faster or not most:
        return []
    found, seconds = list[int](), float(options.mean_head[local])
    for i in faster[:-1]:
        if options.mean_head[i] <= _STEP_DOWN * seconds and len(found) < most - 1:
            seconds = float(options.mean_head[i])
            found.append(i)
    return [*found, faster[-1]]


def _worthiest(
    options: Candidates, local: list[int], deadline: float, room: int, limits: Tables
) -> list[int]:
    """Returns the exact best set of at most `room` candidates, by expected worth in time."""
    floor = max((float(options.worth[i]) for i in local if options.intercept[i] <= deadline), default=0.0)
    steps = _staircase(options, floor, deadline, limits.high)
    worth = [*(float(options.worth[i]) for i in steps), floor]  # [-1]: before the first step
    low = limits.low if limits.distribution is None else 0.0  # a given distribution can reach below
    starts = [max(float(start), low) for start in options.thresholds(deadline)[steps]]
    share = limits.bandwidths.share(np.array(starts), np.full(len(starts), np.inf)).tolist()
    starts.append(0.0)  # [-1]
    apart = limits.safety
    ways: dict[int, tuple[float, list[int]]] = {-1: (0.0, [])}  # by last step: (gain, steps), of one length
    best = ways[-1]
    for _ in range(room):
        longer = {
            n: max((gain + (worth[n] - worth[last]) * share[n], [*way, n]) for last, (gain, way) in before)
            for n in range(len(steps))
            if (before := [(m, way) for m, way in ways.items() if m < n and starts[m] * apart <= starts[n]])
        }
        top = max(longer.values(), key=lambda way: way[0], default=best)
        if top[0] > best[0] + limits.least_accuracy:
            best = top
        ways = longer
    return [steps[n] for n in best[1]]


def _staircase(options: Candidates, floor: float, deadline: float, high: float) -> list[int]:
    """Returns candidates by rising threshold (below high), each worth more than floor and those before."""
    thresholds, worth = options.thresholds(deadline), options.worth
    steps: list[int] = []
    for i in np.lexsort((options.intercept, -options.accuracy, -worth, thresholds)):
        if thresholds[i] < high and worth[i] > floor:
            steps.append(int(i))
            floor = float(worth[i])
    return steps


def accuracy_in_time(options: Candidates, found: Map, limits: Tables) -> float:
    """Returns the expected accuracy of responses in time (0 for late ones) over the bandwidths."""
    share = limits.bandwidths.share(found.starts, np.append(found.starts[1:], np.inf))
    return float(np.sum(share * np.where(found.met, options.accuracy[found.index], 0.0)))


def _neighbours(
    chosen: list[int], others: list[int], room: int, least_gain: float
) -> Iterator[tuple[float, list[int]]]:
    """Yields every exchange and every addition of one candidate, with the gain that it must bring."""
    for other in others:
        if other not in chosen:
            yield from ((1e-9, [other if c == old else c for c in chosen]) for old in chosen)
            if len(chosen) < room:
                yield least_gain, [*chosen, other]


def _mapped(options: Candidates, deadline: float) -> Map:
    points = np.concatenate((options.thresholds(deadline), options.least_bandwidth, _crossings(options)))
    starts = np.concatenate(([0.0], np.unique(points[np.isfinite(points) & (points > 0)])))
    latencies = _latencies(options, np.array(_middles(starts.tolist())))
    met = latencies <= deadline
    top = met
    for key in (options.worth, options.accuracy):
        values = np.where(top & met, key, -1.0)
        top = values == values.max(axis=1, keepdims=True)
    index = np.argmin(np.where(top, latencies, np.inf), axis=1)
    return Map(starts, index, np.any(met, axis=1))


def _latencies(options: Candidates, bandwidths: Floats) -> Floats:
    crowded = OVERLOADED * (bandwidths[:, None] < options.least_bandwidth)
    latencies: Floats = options.intercept + options.bits / bandwidths[:, None] + crowded
    return latencies


def _middles(starts: Sequence[float]) -> list[float]:
    """Returns a bandwidth within each range."""
    if len(starts) == 1:
        return [1.0]
    inner = [math.sqrt(low * high) for low, high in pairwise(starts[1:])]
    return [starts[1] / 2, *inner, starts[-1] * 2]


def _crossings(options: Candidates) -> Floats:
    """Returns the bandwidths at which two candidates are equally fast."""
    first, second = np.triu_indices(len(options), 1)
    bits = options.bits[first] - options.bits[second]
    seconds = options.intercept[second] - options.intercept[first]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bits * seconds > 0, bits / seconds, np.inf)


def _envelope(intercept: list[float], bits: list[float], indices: list[int]) -> list[int]:
    """Returns those of `indices` (by rising intercept) on the lower envelope: the fastest somewhere."""
    kept: list[int] = []
    for i in indices:
        if kept and bits[i] >= bits[kept[-1]]:
            continue  # slower at every bandwidth
        while len(kept) > 1 and _crossing(intercept, bits, kept[-2], i) <= _crossing(
            intercept, bits, kept[-2], kept[-1]
        ):
            kept.pop()
        kept.append(i)
    return kept


def _front(bits: list[float], indices: list[int]) -> list[int]:
    """Returns those of `indices` (by rising intercept) that send less than every faster one."""
    kept: list[int] = []
    for i in indices:
        if not kept or bits[i] < bits[kept[-1]]:
            kept.append(i)
    return kept


def _undominated(options: Candidates) -> list[int]:
    """Returns the candidates that no other equals or beats in intercept, bits and worth."""
    kept: list[int] = []
    sent, worths = list[float](), list[float]()  # of the best so far: both rise
    bits, worth = options.bits.tolist(), options.worth.tolist()
    for i in np.lexsort((-options.accuracy, -options.worth, options.bits, options.intercept)).tolist():
        at = bisect_right(sent, bits[i])
        if at and worths[at - 1] >= worth[i]:
            continue
        kept.append(i)
        at = bisect_left(sent, bits[i])
        end = bisect_right(worths, worth[i])
        sent[at : max(at, end)], worths[at : max(at, end)] = [bits[i]], [worth[i]]
    return kept


def _crossing(intercept: list[float], bits: list[float], fast: int, small: int) -> float:
    """Returns the transfer time per bit from which the smaller candidate is faster."""
    return (intercept[small] - intercept[fast]) / (bits[fast] - bits[small])
