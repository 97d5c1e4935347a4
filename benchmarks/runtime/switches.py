"""Checks whether routes change too often, from counts over time. Pure."""

from collections.abc import Sequence

Counts = Sequence[tuple[float, float]]  # (time, switches so far), in order


def most_within(counts: Counts, seconds: float) -> int:
    """Returns the maximum of switches within any span of `seconds` that begins and ends with a count."""
    most = 0.0
    first = 0
    for moment, total in counts:
        while counts[first][0] < moment - seconds:
            first += 1
        most = max(most, total - counts[first][1])
    return int(most)


def beyond(counts: Counts, dwell: float) -> int:
    """Returns how many switches exceed the first one and one per dwell time, in the worst span."""
    worst = 0
    for i, (begin, before) in enumerate(counts):
        for end, total in counts[i + 1 :]:
            worst = max(worst, int(total - before) - int((end - begin) / dwell) - 1)
    return worst
