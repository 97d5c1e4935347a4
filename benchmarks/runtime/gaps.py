"""Gaps between responses, with and without switches. Pure: times in seconds, and indices of them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.runtime.quantiles import in_ms, quantile

Span = tuple[int, int]  # the indices of its first and its last response


@dataclass(frozen=True, slots=True)
class Turn:
    """A period with switches, and the following one without.

    switches: of each, the last response before its request, and the first one after its end.
    """

    switching: Span
    switches: Sequence[Span]
    quiet: Span


def described(moments: Sequence[float], turns: Sequence[Turn]) -> dict[str, object]:
    """The gaps in milliseconds, as `benchmarks.runtime.switching` reports them."""
    with_, without = (
        sorted(gap for span in spans for gap in gaps(moments, span))
        for spans in ([turn.switching for turn in turns], [turn.quiet for turn in turns])
    )
    of_switches = [max(gaps(moments, span), default=0.0) for turn in turns for span in turn.switches]
    of_others = [
        max(gaps(moments, span))
        for turn in turns
        for span in spans_like(moments, turn.quiet, [_length(moments, span) for span in turn.switches])
    ]
    return {
        "longest_gap_ms": round(1e3 * with_[-1], 3),
        "longest_gap_without_switches_ms": round(1e3 * without[-1], 3),
        "longest_gap_by_switches_ms": round(1e3 * max(0.0, with_[-1] - without[-1]), 3),
        "gap_of_a_switch_ms": in_ms(of_switches),
        "gap_without_a_switch_ms": in_ms(of_others),
        "gap_p999_ms": round(1e3 * quantile(with_, 0.999), 3),
        "gap_p999_without_switches_ms": round(1e3 * quantile(without, 0.999), 3),
    }


def gaps(moments: Sequence[float], span: Span) -> list[float]:
    """Seconds between consecutive responses of a span."""
    return [b - a for a, b in pairwise(moments[span[0] : span[1] + 1])]


def spans_like(moments: Sequence[float], within: Span, lengths: Sequence[float]) -> list[Span]:
    """Consecutive spans, each until the first response with which it has the requested length.

    As many as the responses allow.
    """
    found, (first, end) = [], within
    for seconds in lengths:
        last = bisect_left(moments, moments[first] + seconds, first + 1, end + 1)
        if last > end:
            break
        found.append((first, last))
        first = last
    return found


def _length(moments: Sequence[float], span: Span) -> float:
    return moments[span[1]] - moments[span[0]]
