"""Which of the inferences that wait is run next, and which others in one run with it. Pure: times are
arguments.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from edge_runtime.inference.latency_stats import LatencyStats

LARGEST: Final = 8
# A run of several that takes more than this share of what its parts take one by one is not worth their wait.
_WORTH: Final = 0.95
_DOUBT: Final = 0.5
# So many runs in a row may pass over one that has no deadline, or one that it cannot meet any more.
PATIENCE: Final = 8
# The answer is the first of a proof's four runs' worth of work: an item, another one, and both together.
_PROOF: Final = 4
# With no deadline left to keep, a run of several takes no more than this share of the time that requests are
# given: whoever comes meanwhile waits for its end.
_BLOCKING: Final = 0.25
# A run counts as no longer than so many usual ones: what held it up meets runs of every size alike. A change
# that stays is followed all the same, within ten runs to five times as long.
_STALLED: Final = 2.0
_EXACT: Final = 64  # more rows than this share their figures with those up to the next power of two


class Experience:
    """What is known about a session's runs: their seconds by rows (the first dimension of its inputs).

    `proven`: whether rows answered together are answered as they are alone; None: not known yet. `unclear`:
    trials that told nothing.
    """

    def __init__(self, seconds: float = 0.0, proven: bool | None = None) -> None:
        """`seconds` is what one row takes, as far as is known."""
        self.proven = proven
        self.unclear = 0
        self._stats = {1: LatencyStats(seconds)} if seconds > 0 else {}
        self._sizes = sorted(self._stats)

    @property
    def largest(self) -> int:
        """The most rows that were measured in one run; 0 before any were."""
        return self._sizes[-1] if self._sizes else 0

    def add(self, rows: int, seconds: float) -> None:
        """One more measured run."""
        size = _size(rows)
        stats = self._stats.get(size)
        if stats is None:
            # How much runs differ is not known from one of them: as much as those of other sizes do.
            spread = max((p.deviation / p.seconds for p in self._stats.values() if p.seconds), default=0.0)
            self._stats[size] = LatencyStats(seconds, spread * seconds)
            self._sizes = sorted(self._stats)
        else:
            stats.add(min(seconds, _STALLED * (stats.seconds or seconds)))

    def stats(self, rows: int) -> LatencyStats:
        """How long runs of so many rows take; 0 while nothing is known."""
        return self._stats.get(_size(rows)) or self._estimate(rows)

    def mean(self, rows: int) -> float:
        """What a run of so many rows should take."""
        return self.stats(rows).seconds

    def most(self, rows: int) -> float:
        """What it should not take longer than."""
        return self.stats(rows).most

    def pays(self, parts: Sequence[int]) -> bool:
        """Whether one run of all these rows takes clearly less than a run for each part.

        Half a deviation, which is about what a mean over a few runs is wrong by, must not be what it saves.
        """
        stats = self.stats(sum(parts))
        return stats.seconds + _DOUBT * stats.deviation < _WORTH * sum(map(self.mean, parts))

    def _estimate(self, rows: int) -> LatencyStats:
        """Between two measured sizes on the line between them; beyond the largest in proportion to it."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """One inference that waits. Moments are in seconds of one clock; deadline: infinite without one.

    stack: what those have in common that may be run together (the session and the shape of an item); None for
    one that runs alone.
    """

    stack: Hashable
    known: Experience
    rows: int
    deadline: float
    arrival: float


@dataclass(frozen=True, slots=True)
class Batch:
    """The next run: indices of those that wait, first the one whose turn it is.

    proof: the run is also to find out whether the session's items may be run together. passed: others wait
    that have no deadline, or none that can be met.
    """

    chosen: tuple[int, ...]
    proof: bool = False
    passed: bool = False


def next_batch(
    waiting: Sequence[Waiting], now: float, largest: int = LARGEST, skipped: int = 0, curious: bool = False
) -> Batch:
    """The next run of at most `largest` rows, unless one inference alone has more.

    The turn is that of the earliest deadline that can still be met; then come the others as they arrived,
    one of them, alone, at the latest after PATIENCE runs that passed them (`skipped`). With it are run as
    many of its like, by deadline, as pay, while no one who would be in time one by one becomes late, whether
    in the run or not. Nobody is waited for.

    A size is tried once one of half its rows was measured, and if it seems to save nothing, only when
    `curious`.
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
        finish, free = now + known.most(first.rows), now + _PROOF * known.most(first.rows)
        return Batch(alone.chosen, True, passed) if schedule.bears(fellows[:1], finish, free) else alone
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
    """What each should take by itself. Most are like the one before: a queue may be long, and is looked at
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


def _order(waiting: Sequence[Waiting], means: Sequence[float], now: float) -> tuple[list[int], int]:
    """Indices in the order of their turns, and how many of them have a deadline that can be met."""
    due: list[tuple[float, float, int]] = []
    rest: list[tuple[float, int]] = []
    for i, (one, mean) in enumerate(zip(waiting, means, strict=True)):
        deadline = one.deadline
        if deadline == inf or now + mean > deadline:
            rest.append((one.arrival, i))
        else:
            due.append((deadline, one.arrival, i))
    due.sort()
    rest.sort()
    return [*(i for _, _, i in due), *(i for _, i in rest)], len(due)


def _fellows(waiting: Sequence[Waiting], order: Sequence[int], largest: int) -> list[int]:
    """The first in turn and those after it that could be run with it, as far as there is room."""
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
    """When each would be answered if all were run one by one."""

    def __init__(
        self, waiting: Sequence[Waiting], means: Sequence[float], order: Sequence[int], now: float
    ) -> None:
        self._waiting, self._means, self._order, self._now = waiting, means, order, now

    def bears(self, chosen: Sequence[int], finish: float, free: float) -> bool:
        """Whether all that are in time one by one still are when `chosen` are answered at `finish` and the
        others begin at `free`.
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
                return True  # all that follow are answered earlier than one by one
        return True


def _size(rows: int) -> int:
    return rows if rows <= _EXACT else 1 << (rows - 1).bit_length()
