"""Measures models in a process that stands still while requests are computed. One at a time at a node."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

from edge_runtime.errors import CannotLoad, InputsRefused, NotTried
from edge_runtime.inference.memory import Memory
from edge_runtime.inference.sessions import engine_version, provider
from edge_runtime.trials.child_process import Child, Ended
from edge_runtime.trials.verdicts import TIME, Bounds, Engine, judged

MODULE: Final = "edge_runtime.request_profiles"
"""The program that the process runs."""
SECONDS: Final = 300.0
"""Maximum time of a measurement, without that for which the process stood still."""


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """How the process reaches the model store: as the runtime does."""

    url: str
    token: Path | None = None
    tls: Path | None = None

    def document(self) -> dict[str, Any]:
        """The access as JSON."""
        return {
            "url": self.url,
            "token": None if self.token is None else str(self.token),
            "tls": None if self.tls is None else str(self.tls),
        }


class Measurer:
    """Measures one model after the other. busy: whether requests are being computed."""

    def __init__(
        self,
        store: StoreAccess,
        memory: Memory,
        threads: int,
        busy: Callable[[], bool],
        seconds: float = SECONDS,
    ) -> None:
        self._store, self._memory, self._threads, self._busy = store, memory, threads, busy
        self._seconds, self._closed = seconds, False
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="measuring")

    async def measure(
        self, model: str, shapes: Mapping[str, tuple[int, ...]], samples: bytes
    ) -> dict[str, Any]:
        """Returns the DeviceProfile of a model of the store, measured on samples of these shapes.

        Raises InputsRefused if the model fails on them, and CannotLoad if it cannot be measured now. If the
        caller is cancelled, the measurement ends.
        """
        stop = threading.Event()
        request = {
            "store": self._store.document(),
            "model": model,
            "threads": self._threads,
            "shapes": {name: list(shape) for name, shape in shapes.items()},
        }
        run = asyncio.get_running_loop().run_in_executor
        try:
            return await run(self._executor, self._run, request, samples, stop)
        except asyncio.CancelledError:
            stop.set()
            raise

    def close(self) -> None:
        """Ends the current measurement."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, request: Mapping[str, Any], samples: bytes, stop: threading.Event) -> dict[str, Any]:
        bounds = Bounds(self._seconds, self._memory.room())
        child = Child(MODULE, lambda: self._closed or stop.is_set(), self._busy, longest_pause=inf)
        try:
            found = child.ask(request, bounds, samples)
        except Ended as ended:
            if ended.end.cut == TIME:
                raise NotTried(
                    f"it did not finish within {self._seconds:g} s, without the time of requests: the model "
                    "is large for this node, or requests leave no time: write samples of requests into "
                    "spec.model.samples"
                ) from None
            engine = Engine(engine_version(), provider().name, self._threads)
            error = judged(ended.end, engine, bounds).error("the model")
            raise error or CannotLoad("the measurement ended without a result") from None
        finally:
            child.end()
        if "refused" in found:
            raise InputsRefused(str(found["refused"]))
        if "failed" in found:
            raise CannotLoad(str(found["failed"]))
        return dict(found["profile"])
