"""The best schedule of a few requests, by exhaustive search: the referee of the beam."""

from edge_planning.errors import require
from edge_planning_lab.schedules.known import Decision, KnownRequests, Schedule

MOST = 10
"""Requests: the search takes all of their orders and candidates."""

Partial = tuple[float, float, float, tuple[Decision, ...]]  # node free, link free, utility, decisions


def exhaustive_schedule(requests: KnownRequests, at_least: float = 0.0) -> Schedule:
    """Returns the schedule with the highest utility of all orders and candidates.

    Of schedules of the same requests it leaves out those that another one beats or equals in all three: when
    the node is free, when the link is free, and utility. Nothing that follows can make up for that.

    at_least: utility of a known schedule; partial ones that cannot reach it are left out. Raises
    BadValueError for more than MOST requests.
    """
    require(len(requests) <= MOST, f"{len(requests)} requests: the search takes {MOST} at most")
    count = len(requests)
    best_of = [float(requests.accuracy[requests.service[n]].max()) for n in range(count)]
    layer: dict[int, list[Partial]] = {0: [(0.0, 0.0, 0.0, ())]}
    best: Partial = layer[0][0]
    while layer:
        following: dict[int, list[Partial]] = {}
        for served, partials in layer.items():
            left = [n for n in range(count) if not served >> n & 1]
            for n in left:
                hoped = sum(best_of[m] for m in left)
                for partial in partials:
                    if partial[2] + hoped < max(best[2], at_least) - 1e-12:
                        continue
                    for found in _served(requests, partial, n):
                        _add(following.setdefault(served | 1 << n, []), found)
                        if found[2] > best[2]:
                            best = found
        layer = following
    return Schedule(best[2], best[3])


def _served(requests: KnownRequests, partial: Partial, request: int) -> list[Partial]:
    """Returns the schedule with one more request, by each candidate that is in time."""
    node, link, utility, decisions = partial
    service, arrived = int(requests.service[request]), float(requests.arrived[request])
    columns = (requests.head, requests.bits, requests.after, requests.accuracy)
    found: list[Partial] = []
    for i, (head, bits, after, accuracy) in enumerate(
        zip(*(column[service].tolist() for column in columns), strict=True)
    ):
        ready = max(arrived, node) + head if head else arrived
        if ready + after > requests.due[request]:
            continue
        crossed = requests.link.finish(max(ready, link), bits) if bits else ready
        if crossed + after <= requests.due[request]:
            decided = (*decisions, Decision(request, i))
            found.append((ready if head else node, crossed if bits else link, utility + accuracy, decided))
    return found


def _add(partials: list[Partial], found: Partial) -> None:
    if any(p[0] <= found[0] and p[1] <= found[1] and p[2] >= found[2] for p in partials):
        return
    partials[:] = [p for p in partials if not (p[0] >= found[0] and p[1] >= found[1] and p[2] <= found[2])]
    partials.append(found)
