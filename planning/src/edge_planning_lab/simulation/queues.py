"""First-come, first-served queues: the start and end of an entry are known when it joins."""

from collections import deque

from edge_planning_lab.simulation.links import Bandwidth
from edge_planning_lab.simulation.scenarios import Uplink


class SimulatedNode:
    """An entry node's compute server; down: its failures as (from, until)."""

    __slots__ = ("down", "free_at", "restarts")

    def __init__(self, down: list[tuple[float, float]]) -> None:
        self.free_at, self.down = 0.0, down
        self.restarts = [until for _, until in down]

    def gone(self, start: float, end: float) -> bool:
        """Returns whether the node is down at some time from start to end."""
        return any(begin < end and start < until for begin, until in self.down)


class SimulatedLink:
    """An uplink; outages as (from, until), already applied to `bandwidth`."""

    __slots__ = ("bandwidth", "free_at", "outages", "probes", "spec", "waiting")

    def __init__(self, spec: Uplink, bandwidth: Bandwidth, outages: list[tuple[float, float]]) -> None:
        self.spec, self.bandwidth, self.outages = spec, bandwidth, outages
        self.free_at = 0.0
        self.probes = 0
        self.waiting: deque[tuple[float, float, float]] = deque()  # (begins, ends, bits)

    def send(self, now: float, bits: float, until: float) -> tuple[float, float, float, bool]:
        """Returns (start, end, bits that crossed, complete) of a transfer that is aborted at `until`."""
        begin = max(self.free_at, now)
        if begin >= until:
            return until, until, 0.0, False
        end = self.bandwidth.finish(begin, bits)
        complete, crossed = end <= until, bits
        if not complete:
            end = until
            crossed = self.bandwidth.carried(end) - self.bandwidth.carried(begin)
        self.free_at = end
        self.waiting.append((begin, end, crossed))
        return begin, end, crossed, complete

    def backlog(self, now: float) -> float:
        """Returns the bits in the queue that have not crossed yet."""
        waiting = self.waiting
        while waiting and waiting[0][1] <= now:
            waiting.popleft()
        left = sum(bits for _, _, bits in waiting)
        if waiting and waiting[0][0] < now:
            carried = self.bandwidth.carried
            left -= carried(now) - carried(waiting[0][0])
        return max(left, 0.0)

    def reply_at(self, moment: float) -> float:
        """Returns when a response that reaches the link at a time arrives."""
        for start, until in self.outages:
            if start <= moment < until:
                moment = until
        return moment
