"""A lane for each Triton server: its requests run one after another, each on a thread of its own.

A caller waits for a lane for a second at most; a look at a server, which has a thread of its own, for 5 s. A
server that is slow, hung or away therefore holds up neither other servers nor the threads that reconciles
share. A request that takes longer continues without its caller.
"""

import contextlib
import functools
import random
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from edge_operator.errors import TritonBusyError, TritonError, TritonUnreachableError
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.tail_models import Tail
from edge_operator.tritons.triton import Arrays, Opener, Timed, Triton

Result = TypeVar("Result")

PATIENCE = 1.0
"""Seconds that a caller waits for a server."""
_SHORTEST, _LONGEST = 2.0, 60.0
"""Seconds for which a server is left alone after its first failure, and at most."""


@dataclass(frozen=True, slots=True)
class _Request:
    key: Hashable
    doing: str
    since: float
    future: "Future[Any]"


class Lanes:
    """`Triton` with a lane and a circuit breaker for each server."""

    def __init__(
        self,
        triton: Triton,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.SystemRandom().random,
        patience: float = PATIENCE,
        *,
        lanes: "_LanesByServer | None" = None,
    ) -> None:
        """lanes: to share with others; None: its own."""
        self._triton, self._patience = triton, patience
        self._lanes = lanes or _LanesByServer(functools.partial(_Lane, clock=clock, jitter=jitter))

    def patiently(self, patience: float) -> "Lanes":
        """Returns the same lanes for callers that wait for so many seconds, on threads of their own."""
        return Lanes(self._triton, patience=patience, lanes=self._lanes)

    def ready(self, address: str) -> frozenset[str]:
        """Returns the names of the models that are ready."""
        call = functools.partial(self._triton.ready, address)
        return self._run(address, "ready", "listing its models", call)

    def parameters(self, address: str, name: str) -> Mapping[str, str]:
        """Returns the parameters in the configuration of a model; empty if it is not loaded."""
        call = functools.partial(self._triton.parameters, address, name)
        return self._run(address, ("parameters", name), f"reading {name}", call)

    def load(self, tail: Tail, onnx: Opener) -> None:
        """Loads a slice; raises TritonBusyError if that takes longer, and it is loaded later."""
        call = functools.partial(self._triton.load, tail, onnx)
        self._run(tail.address, ("load", tail.name), f"loading {tail.name}", call)

    def unload(self, address: str, name: str) -> None:
        """Unloads a model; does nothing if it is not loaded."""
        call = functools.partial(self._triton.unload, address, name)
        self._run(address, ("unload", name), f"unloading {name}", call)

    def control_open(self, address: str) -> bool:
        """Whether the server accepts model control without a key."""
        call = functools.partial(self._triton.control_open, address)
        return self._run(address, "control", "checking its model control", call)

    def timed(self, address: str, name: str, feeds: Arrays, runs: int) -> Timed:
        """Measures a loaded model, beside the lane: its requests are inferences and wait for no load."""
        return self._triton.timed(address, name, feeds, runs)

    def _run(self, address: str, key: Hashable, doing: str, call: Callable[[], Result]) -> Result:
        return self._lanes.lane(address).run(key, doing, call, self._patience)


class _LanesByServer:
    def __init__(self, made: Callable[[str], "_Lane"]) -> None:
        self._made = made
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}

    def lane(self, address: str) -> "_Lane":
        """Returns the lane of a server, which its http and https addresses share."""
        with self._lock:
            server = server_of(address)
            if server not in self._lanes:
                self._lanes[server] = self._made(address)
            return self._lanes[server]


class _Lane:
    def __init__(self, address: str, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._address, self._clock, self._jitter = address, clock, jitter
        self._lock = threading.Lock()
        self._running: _Request | None = None
        self._missed: dict[Hashable, BaseException] = {}
        """Errors of requests whose callers did not wait for them."""
        self._failures = 0
        self._closed_until = float("-inf")
        self._reason = ""

    def run(self, key: Hashable, doing: str, call: Callable[[], Result], patience: float) -> Result:
        """Runs a request. Raises TritonBusyError if another one, or this one, takes more than `patience`."""
        began = self._clock()
        while True:
            with self._lock:
                missed = self._missed.pop(key, None)
                if missed is not None:
                    raise missed
                running = self._running
                if running is None:
                    rest = self._closed_until - self._clock()
                    if rest > 0:
                        raise TritonUnreachableError(self._reason, rest)
                    running = _Request(key, doing, self._clock(), Future())
                    self._running = running
                    # No pool: a server that no pool of devices names any more keeps no thread.
                    threading.Thread(target=self._work, args=(running, call), name="triton").start()
            left = patience - (self._clock() - min(began, running.since))
            with contextlib.suppress(TimeoutError):
                error = running.future.exception(timeout=max(0.0, left))
                if running.key == key:
                    with self._lock:
                        self._missed.pop(key, None)
                    if error is not None:
                        raise error
                    return cast("Result", running.future.result())
                continue
            raise TritonBusyError(f"Triton at {self._address} is busy: {running.doing}")

    def _work(self, request: _Request, call: Callable[[], Any]) -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as raised:
            error = raised
        with self._lock:
            self._running = None
            if isinstance(error, TritonUnreachableError):
                pause = min(_LONGEST, _SHORTEST * 2**self._failures) * (0.5 + self._jitter() / 2)
                self._failures += 1
                self._closed_until, self._reason = self._clock() + pause, str(error)
                error.rest = pause
            elif error is None or isinstance(error, TritonError):
                self._failures, self._closed_until = 0, float("-inf")
            if error is not None:
                self._missed[request.key] = error
        if error is not None:
            request.future.set_exception(error)
        else:
            request.future.set_result(result)
