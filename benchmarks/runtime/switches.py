"""Whether routes change too often. Pure: counts over time in, numbers out."""

from collections.abc import Sequence

Counts = Sequence[tuple[float, float]]  # (moment, switches so far), in order


def most_within(counts: Counts, seconds: float) -> int:
    """The most switches within any span of so many seconds that begins and ends with a count."""
    most = 0.0
    first = 0
    for moment, total in counts:
        while counts[first][0] < moment - seconds:
            first += 1
        most = max(most, total - counts[first][1])
    return int(most)


def beyond(counts: Counts, dwell: float) -> int:
    """How many more switches than one in each dwell time and the first one there were, in the worst span."""
    worst = 0
    for i, (begin, before) in enumerate(counts):
        for end, total in counts[i + 1 :]:
            worst = max(worst, int(total - before) - int((end - begin) / dwell) - 1)
    return worst
