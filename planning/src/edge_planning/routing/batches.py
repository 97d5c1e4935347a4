"""Decides which of the waiting inferences run next, and which of them in one batch.

Pure: times are arguments.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import Final

from edge_planning.routing.latency_stats import LatencyStats

LARGEST: Final = 8
PRIORITIES: Final = 10
DEFAULT_PRIORITY: Final = 5
# A batch is not worth its wait if it takes more than this share of the time of its requests one by one.
_WORTH: Final = 0.95
_DOUBT: Final = 0.5
# At most this many runs in a row pass over a request without a deadline, or with one that cannot be met.
PATIENCE: Final = 8
# A batch check is four times a request's work: an item, another one, and both together. The response is ready
# after the first.
_PROOF: Final = 4
# If no deadline is left to keep, a batch takes at most this share of the time that requests are given,
# because requests that arrive during the batch wait for its end.
_BLOCKING: Final = 0.25
# A measured run counts as at most this many usual ones, because disturbances hit runs of every size. A
# lasting change is still followed: within ten runs to five times the time.
_STALLED: Final = 2.0
_EXACT: Final = 64  # above, numbers of rows share statistics up to the next power of two


class Experience:
    """Measured run times of a session in seconds, by rows (the first dimension of its inputs).

    proven: whether rows in a batch give the same results as alone; None: not known yet. checking: whether a
    check of that has begun and not ended. unclear: number of checks without a result.
    """

    def __init__(self, seconds: float = 0.0, *, proven: bool | None = None) -> None:
        """seconds: time of one row, as far as it is known."""
        self.proven = proven
        self.checking = False
        self.unclear = 0
        self._stats = {1: LatencyStats(seconds)} if seconds > 0 else {}
        self._sizes = sorted(self._stats)

    @property
    def sizes(self) -> Sequence[int]:
        """Numbers of rows, rounded, for which there are statistics, in ascending order."""
        return self._sizes

    @property
    def largest(self) -> int:
        """The largest number of rows measured in one run; 0 before any."""
        return self._sizes[-1] if self._sizes else 0

    def add(self, rows: int, seconds: float) -> None:
        """Adds a measured run."""
        size = _size(rows)
        stats = self._stats.get(size)
        if stats is None:
            # The deviation is not known from one run: assume that of other sizes.
            spread = max((p.deviation / p.seconds for p in self._stats.values() if p.seconds), default=0.0)
            self._stats[size] = LatencyStats(seconds, spread * seconds)
            self._sizes = sorted(self._stats)
        else:
            stats.add(min(seconds, _STALLED * (stats.seconds or seconds)))

    def scale(self, factor: float) -> None:
        """Multiplies all times, because the node has become slower or faster."""
        for stats in list(self._stats.values()):
            stats.seconds *= factor
            stats.deviation *= factor

    def stats(self, rows: int) -> LatencyStats:
        """Latency statistics of runs with this number of rows; 0 if nothing is known."""
        return self._stats.get(_size(rows)) or self._estimate(rows)

    def mean(self, rows: int) -> float:
        """Expected time of a run with this number of rows."""
        return self.stats(rows).seconds

    def most(self, rows: int) -> float:
        """Upper bound of the time of a run with this number of rows."""
        return self.stats(rows).most

    def pays(self, parts: Sequence[int]) -> bool:
        """Whether one run of all rows takes clearly less time than one run for each part.

        The saving must exceed half a deviation, which is about the error of a mean over a few runs.
        """
        stats = self.stats(sum(parts))
        return stats.seconds + _DOUBT * stats.deviation < _WORTH * sum(map(self.mean, parts))

    def _estimate(self, rows: int) -> LatencyStats:
        """Interpolates linearly between two measured sizes; extrapolates in proportion beyond the largest."""
        if not self._sizes:
            return LatencyStats()
        at = bisect_left(self._sizes, rows)
        if at == 0:
            return self._stats[self._sizes[0]]
        low = self._sizes[at - 1]
        before = self._stats[low]
        if at == len(self._sizes):
            return LatencyStats(before.seconds * rows / low, before.deviation * rows / low)
        high = self._sizes[at]
        after, share = self._stats[high], (rows - low) / (high - low)
        return LatencyStats(
            before.seconds + share * (after.seconds - before.seconds),
            before.deviation + share * (after.deviation - before.deviation),
        )


@dataclass(frozen=True, slots=True)
class Precedence:
    """What decides the turn of an inference beside its deadline and its arrival.

    beyond: 0 within the rate that the plan counts with, else its place among those beyond it.
    service: among whose inferences the priority decides; None for none.
    priority: from 1, the first turn, to PRIORITIES.
    """

    beyond: float = 0.0
    service: Hashable = None
    priority: int = DEFAULT_PRIORITY


ORDINARY: Final = Precedence()


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A waiting inference. Times are in seconds of one clock; the deadline is infinite without one.

    stack: key of the inferences that can share a batch with it (the session and the shape of an item); None
    for one that runs alone.
    """

    stack: Hashable
    known: Experience
    rows: int
    deadline: float
    arrival: float
    precedence: Precedence = ORDINARY


def duration(waiting: Sequence[Waiting], largest: int) -> float:
    """Expected seconds until all have run, in batches of at most `largest` rows where that is proven."""
    seconds = 0.0
    stacks: dict[tuple[Hashable, int], tuple[Experience, int]] = {}
    for one in waiting:
        if one.stack is None or one.known.proven is not True:
            seconds += one.known.mean(one.rows)
        else:
            key = (one.stack, id(one.known))
            stacks[key] = (one.known, stacks.get(key, (one.known, 0))[1] + one.rows)
    for known, rows in stacks.values():
        full, rest = divmod(rows, largest)
        seconds += full * known.mean(largest) + (known.mean(rest) if rest else 0.0)
    return seconds


def wait_before(
    waiting: Sequence[Waiting],
    deadline: float,
    seconds: float,
    now: float,
    largest: int = LARGEST,
    skipped: int = 0,
    *,
    precedence: Precedence = ORDINARY,
) -> float:
    """Expected seconds until the turn of an inference with this deadline that takes `seconds`.

    The order is that of `next_batch`. An inference whose deadline can be met waits for those before it that
    can be met at their turn, and for the few others that get a turn between them. One whose deadline cannot
    be met waits for all.
    """
    if not waiting or deadline == inf or now + seconds > deadline:
        return duration(waiting, largest)
    means = _means(waiting)
    turns = _turns(waiting, means, now)
    own = (False, precedence.beyond, deadline, inf)
    for i, one in enumerate(waiting):
        if _same_service(one, precedence) and one.precedence.priority < precedence.priority:
            own = max(own, turns[i][:4])
    order, due = [turn[-1] for turn in sorted(turns)], sum(not turn[0] for turn in turns)
    ahead: list[Waiting] = []
    one_by_one = 0.0
    for i in order:
        one = waiting[i]
        if turns[i][:4] > own:
            break
        if _same_service(one, precedence) and one.precedence.priority > precedence.priority:
            continue
        ahead.append(one)
        if now + one_by_one + means[i] <= one.deadline:
            one_by_one += means[i]
    others = (skipped + len(ahead)) // PATIENCE if due < len(order) else 0
    between = sum(means[i] for i in order[due : due + others])
    return min(duration(ahead, largest), one_by_one) + between


@dataclass(frozen=True, slots=True)
class Batch:
    """The next run: indices of waiting inferences, first the one whose turn it is.

    proof: whether the run also checks if the session's items can share a batch. passed: whether others wait
    that have no deadline, or none that can be met.
    """

    chosen: tuple[int, ...]
    proof: bool = False
    passed: bool = False


def next_batch(
    waiting: Sequence[Waiting], now: float, largest: int = LARGEST, skipped: int = 0, *, curious: bool = False
) -> Batch:
    """Chooses the next run, of at most `largest` rows unless one inference alone has more.

    Order: the earliest deadline that can still be met, of inferences within the plan and then of those
    beyond it by their places; then the others by arrival. Within a service, those with a higher priority are
    before the others, which delays no other service. After PATIENCE runs that passed the others
    (`skipped`), one of them runs alone. The first in order is batched with as many of the
    same `stack`, by deadline, as pay, unless this would make any inference late that is in time one by one.
    A run never waits for future requests.

    A size is tried after one of half its rows was measured; if it seems to save nothing, only if `curious`.
    """
    means = _means(waiting)
    order, due = _order(waiting, means, now)
    passed = 0 < due < len(order)
    if passed and skipped >= PATIENCE:
        return Batch((order[due],))
    first = waiting[order[0]]
    alone = Batch((order[0],), passed=passed)
    known = first.known
    if first.stack is None or known.proven is False or known.largest == 0:
        return alone
    fellows = _fellows(waiting, order, largest)
    if len(fellows) == 1:
        return alone
    schedule = _Schedule(waiting, means, order, now)
    if known.proven is None:
        if known.checking:
            return alone
        finish, free = now + known.most(first.rows), now + _PROOF * known.most(first.rows)
        return (
            Batch(alone.chosen, proof=True, passed=passed)
            if schedule.bears(fellows[:1], finish, free)
            else alone
        )
    bound = inf if due else now + _BLOCKING * min(w.deadline - w.arrival for w in waiting)
    for count in range(len(fellows), 1, -1):
        chosen = [waiting[i] for i in fellows[:count]]
        rows = sum(w.rows for w in chosen)
        if rows > 2 * known.largest:
            continue
        if not curious and not known.pays([w.rows for w in chosen]):
            continue
        finish = now + known.most(rows)
        if finish <= bound and schedule.bears(fellows[:count], finish, finish):
            return Batch(tuple(fellows[:count]), passed=passed)
    return alone


def _means(waiting: Sequence[Waiting]) -> list[float]:
    """Expected time of each alone. Reuses the previous result for equal neighbors: a long queue is evaluated
    before every run.
    """
    found: list[float] = []
    known, rows, mean = None, 0, 0.0
    for one in waiting:
        if one.known is not known or one.rows != rows:
            known, rows = one.known, one.rows
            mean = known.mean(rows)
        found.append(mean)
    return found


def _same_service(one: Waiting, precedence: Precedence) -> bool:
    return one.precedence.service is not None and one.precedence.service == precedence.service


_Turn = tuple[bool, float, float, float, int, int]


def _order(waiting: Sequence[Waiting], means: Sequence[float], now: float) -> tuple[list[int], int]:
    """Indices in the order of their turns, and how many of them have a turn by their deadline."""
    turns = _turns(waiting, means, now)
    return [turn[-1] for turn in sorted(turns)], sum(not turn[0] for turn in turns)


def _turns(waiting: Sequence[Waiting], means: Sequence[float], now: float) -> list[_Turn]:
    """What decides the turn of each; the least is first.

    An inference is not before any of its service with a higher priority, whose turn it takes if it is later.
    """
    turns: list[_Turn] = []
    for i, (one, mean) in enumerate(zip(waiting, means, strict=True)):
        late = one.deadline == inf or now + mean > one.deadline
        beyond, deadline = (0.0, 0.0) if late else (one.precedence.beyond, one.deadline)
        turns.append((late, beyond, deadline, one.arrival, one.precedence.priority, i))
    if any(turn[4] != turns[0][4] for turn in turns):
        held: dict[Hashable, list[int]] = {}
        for i, one in enumerate(waiting):
            if one.precedence.service is not None:
                held.setdefault(one.precedence.service, []).append(i)
        for own in held.values():
            _give_way(turns, own)
    return turns


def _give_way(turns: list[_Turn], own: Sequence[int]) -> None:
    """Delays the turns of one service's inferences to the last of those with a higher priority."""
    last: _Turn | None = None
    for _, equals in groupby(sorted(own, key=lambda i: turns[i][4]), key=lambda i: turns[i][4]):
        for i in (found := list(equals)):
            if last is not None and turns[i] < last:
                turns[i] = (*last[:4], *turns[i][4:])
        latest = max(turns[i] for i in found)
        last = latest if last is None else max(last, latest)


def _fellows(waiting: Sequence[Waiting], order: Sequence[int], largest: int) -> list[int]:
    """The first in order and those after it that fit into one batch with it."""
    stack, rows = waiting[order[0]].stack, 0
    found: list[int] = []
    for i in order:
        one = waiting[i]
        if one.stack == stack and (not found or rows + one.rows <= largest):
            found.append(i)
            rows += one.rows
            if rows >= largest:
                break
    return found


class _Schedule:
    """Completion times if all were run one by one."""

    def __init__(
        self, waiting: Sequence[Waiting], means: Sequence[float], order: Sequence[int], now: float
    ) -> None:
        self._waiting, self._means, self._order, self._now = waiting, means, order, now

    def bears(self, chosen: Sequence[int], finish: float, free: float) -> bool:
        """Whether all that are in time one by one still are if `chosen` finish at `finish` and the others
        start at `free`.
        """
        left, end = set(chosen), self._now
        for i in self._order:
            one, mean = self._waiting[i], self._means[i]
            end += mean
            if i in left:
                left.remove(i)
                answered = finish
            else:
                free += mean
                answered = free
            if answered > one.deadline >= end:
                return False
            if not left and free <= end:
                return True  # all that follow finish earlier than one by one
        return True


def _size(rows: int) -> int:
    return rows if rows <= _EXACT else 1 << (rows - 1).bit_length()
