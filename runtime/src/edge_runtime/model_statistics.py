"""What a model's requests and runs took, counted as Triton's statistics extension defines it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

from edge_runtime.json_values import Json

_NANOSECONDS = 1e9


@dataclass(slots=True)
class Execution:
    """One successful run of a session, as one of the services in it sees it.

    rows: rows of the whole batch. waits: seconds that each request of the service waited for the run.
    stacking, inferring, splitting: seconds to join the inputs, to run the session and to part the outputs.
    """

    rows: int
    waits: Sequence[float]
    inferring: float
    stacking: float = 0.0
    splitting: float = 0.0


@dataclass(slots=True)
class Duration:
    """A number of events and their total time in seconds."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Adds events that took `seconds` together."""
        self.count += count
        self.seconds += seconds

    def document(self) -> dict[str, Json]:
        """The duration in the form of the extension."""
        return {"count": self.count, "ns": round(self.seconds * _NANOSECONDS)}


@dataclass(slots=True)
class _Batches:
    """Runs of one number of rows, and their times in seconds."""

    count: int = 0
    stacking: float = 0.0
    inferring: float = 0.0
    splitting: float = 0.0


class ModelStatistics:
    """Counters of one model since it was loaded. Safe for use by several threads."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """now: the time since the epoch in seconds."""
        self._now, self._lock = now, Lock()
        self._last = 0.0
        self._rows = 0
        self._succeeded, self._failed = Duration(), Duration()
        self._hits, self._misses = Duration(), Duration()
        self._waiting = 0.0
        # Of the requests beside the first of each run; runs themselves are counted by their rows.
        self._stacking = self._inferring = self._splitting = 0.0
        self._batches: dict[int, _Batches] = {}

    def succeeded(self, seconds: float, rows: int) -> None:
        """Counts a request with a computed response."""
        with self._lock:
            self._last = self._now()
            self._succeeded.add(seconds)
            self._rows += rows

    def reused(self, seconds: float) -> None:
        """Counts a request whose response was reused from an earlier one."""
        with self._lock:
            self._last = self._now()
            self._succeeded.add(seconds)
            self._hits.add(seconds)

    def missed(self, seconds: float) -> None:
        """Counts a lookup for a response to reuse that found none."""
        with self._lock:
            self._misses.add(seconds)

    def failed(self, seconds: float) -> None:
        """Counts a request that ended in an error, or whose client left."""
        with self._lock:
            self._last = self._now()
            self._failed.add(seconds)

    def ran(self, execution: Execution) -> None:
        """Counts a successful run; each of its requests is charged with all of its time."""
        waits = execution.waits
        with self._lock:
            batches = self._batches.get(execution.rows)
            if batches is None:
                batches = self._batches[execution.rows] = _Batches()
            batches.count += 1
            batches.inferring += execution.inferring
            if len(waits) != 1 or waits[0] or execution.stacking:  # all but short runs of one request
                others = len(waits) - 1
                self._waiting += sum(waits)
                batches.stacking += execution.stacking
                batches.splitting += execution.splitting
                self._stacking += others * execution.stacking
                self._inferring += others * execution.inferring
                self._splitting += others * execution.splitting

    def hopped(self, seconds: float) -> None:
        """Adds the time in which another node computed the rest of a request."""
        with self._lock:
            self._inferring += seconds

    def document(self, name: str, version: str) -> dict[str, Json]:
        """The statistics in the form of the extension."""
        with self._lock:
            computed = self._succeeded.count - self._hits.count
            runs = self._batches.values()
            parts = {
                "compute_input": self._stacking + sum(each.stacking for each in runs),
                "compute_infer": self._inferring + sum(each.inferring for each in runs),
                "compute_output": self._splitting + sum(each.splitting for each in runs),
            }
            return {
                "name": name,
                "version": version,
                "last_inference": int(self._last * 1e3),
                "inference_count": self._rows,
                "execution_count": sum(each.count for each in runs),
                "inference_stats": {
                    "success": self._succeeded.document(),
                    "fail": self._failed.document(),
                    "queue": Duration(self._succeeded.count, self._waiting).document(),
                    **{key: Duration(computed, seconds).document() for key, seconds in parts.items()},
                    "cache_hit": self._hits.document(),
                    "cache_miss": self._misses.document(),
                },
                "response_stats": {},
                "batch_stats": [
                    {
                        "batch_size": rows,
                        "compute_input": Duration(batches.count, batches.stacking).document(),
                        "compute_infer": Duration(batches.count, batches.inferring).document(),
                        "compute_output": Duration(batches.count, batches.splitting).document(),
                    }
                    for rows, batches in sorted(self._batches.items())
                ],
                "memory_usage": [],
            }
