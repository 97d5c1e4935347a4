"""Profiles models on Triton servers that name no node like them, by requests to the server itself.

The slices of a model are loaded one after another and run. Triton's own statistics tell their compute times,
so the link to the server does not count. One model is measured at a time on each server.
"""

import functools
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any, TypeVar

from edge_api.devicepools import TritonServer
from edge_api.placements import UNENCODED
from edge_api.tensors import Tensor
from edge_operator.errors import TailRefusedError, TritonBusyError
from edge_operator.store import Store
from edge_operator.store_answers import (
    AssumedSize,
    DeviceProfile,
    ExitTime,
    ModelCard,
    ProfileShape,
    SegmentTime,
)
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.admission import footprint
from edge_operator.tritons.admitted import Admitted
from edge_operator.tritons.tail_models import Tail, tail_name
from edge_operator.tritons.triton import Arrays, Timed, Triton, zeros

RUNS = 20
"""Requests for each slice."""
FIRST_RETRY, LAST_RETRY = 5.0, 300.0
"""Seconds from the end of a failed attempt to the next one, at most: doubled after each, up to the last."""
_DOUBLINGS = 10
"""More than it takes to reach the last retry."""
_LOADING = 180.0
_PAUSE = 0.5
_POLL = 2.0

Result = TypeVar("Result")
Slicing = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a measurement failed, and the seconds until the next attempt.

    within: the longest time from the end of the attempt to the next one, in seconds.
    """

    message: str
    again: float
    within: float


@dataclass(frozen=True, slots=True)
class Subject:
    """A model on a server. selection: what its measurements are kept under. owner: the installation."""

    server: TritonServer
    selection: str
    card: ModelCard
    owner: str

    @property
    def key(self) -> tuple[str, str, frozenset[str]]:
        """What is measured: exits are identified by their outputs."""
        return self.server.url, self.card.digest, frozenset(exit_.end for exit_ in self.card.exits)


@dataclass(slots=True)
class _Attempt:
    """A measurement that is under way or done.

    failures: how many attempts failed before. failure: why the last of them did. spread: from 0 to 1. ended:
    by the monotonic clock.
    """

    failures: int
    failure: str
    spread: float
    future: "Future[DeviceProfile]" = field(default_factory=Future)
    ended: float = float("inf")

    def failed(self) -> str | None:
        """Returns why it failed; None if it did not, or is under way."""
        error = self.future.exception() if self.future.done() else None
        return None if error is None else str(error) or type(error).__name__

    @property
    def due(self) -> float:
        """When the next attempt is due if this one failed: jitter takes up to half of the delay."""
        return self.ended + retry_within(self.failures + 1) * (0.5 + self.spread / 2)


def retry_within(failures: int) -> float:
    """Returns the longest delay in seconds after so many failed attempts."""
    return min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, _DOUBLINGS))


class ServerProfiles:
    """Measurements that are under way or done. From any thread; `profile` does not wait."""

    def __init__(
        self,
        triton: Triton,
        store: Store,
        admitted: Admitted,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.SystemRandom().random,
    ) -> None:
        self._triton, self._store, self._admitted = triton, store, admitted
        self._clock, self._pause, self._jitter = clock, pause, jitter
        self._lock = threading.Lock()
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._attempts: dict[tuple[str, str, frozenset[str]], _Attempt] = {}
        """The last attempt of each measurement."""

    def profile(self, subject: Subject) -> DeviceProfile | Failed | None:
        """Returns the measurements, or why the last attempt failed; None during the first attempt."""
        with self._lock:
            attempt = self._attempts.get(subject.key)
            failure = attempt.failed() if attempt is not None else None
            if attempt is None or (failure is not None and self._clock() >= attempt.due):
                attempt = self._start(subject, attempt, failure)
        if not attempt.future.done():
            # The failure stays until this attempt ends: conditions do not change to and fro.
            failures = attempt.failures
            return Failed(attempt.failure, _POLL, retry_within(failures)) if failures else None
        failure = attempt.failed()
        if failure is None:
            return _of(subject, attempt.future.result())
        again = max(0.0, attempt.due - self._clock())
        return Failed(failure, again, retry_within(attempt.failures + 1))

    def wait(self) -> None:
        """Waits for the measurements under way."""
        with self._lock:
            attempts = list(self._attempts.values())
        for attempt in attempts:
            attempt.future.exception()

    def _start(self, subject: Subject, before: _Attempt | None, failure: str | None) -> _Attempt:
        failures = before.failures + 1 if before is not None else 0
        attempt = _Attempt(failures, failure or "", self._jitter())
        self._attempts[subject.key] = attempt
        url = subject.server.url
        threads = self._threads.setdefault(url, ThreadPoolExecutor(1, thread_name_prefix="profile"))
        attempt.future = threads.submit(self._run, attempt, subject)
        return attempt

    def _run(self, attempt: _Attempt, subject: Subject) -> DeviceProfile:
        try:
            return self._measure(subject)
        finally:
            attempt.ended = self._clock()

    def _measure(self, subject: Subject) -> DeviceProfile:
        card = subject.card
        found = []
        for shape in card.shapes or (None,):
            given = shape.inputs if shape is not None else {}
            values: dict[str, Any] = {each.name: zeros(each, given.get(each.name)) for each in card.inputs}
            times: dict[Slicing, Timed] = {}
            for start, end in slicings(card):
                times[start, end] = timed = self._timed(subject, start, end, values)
                values |= timed.outputs
            found.append(profile_of(subject, times))
        if not card.shapes:
            return found[0]
        at = (
            ProfileShape(inputs=shape.inputs, segments=each.segments, exits=each.exits)
            for shape, each in zip(card.shapes, found, strict=True)
        )
        return found[-1].model_copy(update={"shapes": tuple(at), "assumed": ()})

    def _timed(self, subject: Subject, start: tuple[str, ...], end: tuple[str, ...], values: Arrays) -> Timed:
        server, url = subject.server, subject.server.url
        piece = self._store.slice(subject.card.digest, start, end, UNENCODED, UNENCODED)
        tail = Tail(
            address=url,
            name=tail_name(subject.owner, piece, server.backend),
            backend=server.backend,
            digest=piece.digest,
            inputs=piece.inputs,
            outputs=piece.outputs,
            size=piece.size,
            owner=subject.owner,
        )
        self._admitted.hold(server_of(url), {tail.name: footprint(tail.size, tail.backend)})
        try:
            self._load(tail)
            feeds = {tensor.name: values[tensor.name] for tensor in piece.inputs}
            return self._triton.timed(url, tail.name, feeds, RUNS)
        finally:
            # Not unloaded here: a table may use it by now. Without one, it goes like any unused tail.
            self._admitted.release(server_of(url), [tail.name])

    def _load(self, tail: Tail) -> None:
        if tail.name in self._waiting(lambda: self._triton.ready(tail.address)):
            return
        opener = functools.partial(self._store.blob, tail.digest)
        try:
            self._triton.load(tail, opener)
        except TritonBusyError:
            ready = self._waiting(lambda: self._triton.ready(tail.address))
            if tail.name not in ready:
                self._waiting(lambda: self._triton.load(tail, opener))

    def _waiting(self, call: Callable[[], Result]) -> Result:
        """Calls again while the server is busy. Raises TailRefusedError if that takes too long."""
        until = self._clock() + _LOADING
        while True:
            try:
                return call()
            except TritonBusyError as error:
                if self._clock() >= until:
                    raise TailRefusedError(str(error)) from error
                self._pause(_PAUSE)


def _of(subject: Subject, measured: DeviceProfile) -> DeviceProfile:
    """Returns the profile as the subject's pool knows it: pools can list one server under different names."""
    own = {
        "selection": subject.selection,
        "device_class": subject.server.device_class,
        "node": subject.server.name,
    }
    return measured.model_copy(update=own)


def slicings(card: ModelCard) -> tuple[Slicing, ...]:
    """Returns the first and last tensors of what is measured: whole exits, then segments in order."""
    wholes = [(exit_.source, exit_.outputs) for exit_ in card.exits]
    segments = [pair for exit_ in card.exits for pair in _segments(card, exit_.name)]
    return tuple(dict.fromkeys([*wholes, *segments]))


def profile_of(subject: Subject, times: Mapping[Slicing, Timed]) -> DeviceProfile:
    """Returns the profile for measured slices. Pure."""
    card = subject.card
    segments: dict[tuple[str, str], SegmentTime] = {}
    worst, exits = 0.0, []
    for exit_ in card.exits:
        names = [*(cut.tensor for cut in exit_.cuts), exit_.end]
        total = 0.0
        for (start, end), pair in zip(pairwise(names), _segments(card, exit_.name), strict=True):
            mean, p95 = _figures(times[pair].seconds)
            total += mean
            segments[start, end] = SegmentTime.model_validate(
                {"from": start, "to": end, "mean_seconds": mean, "p95_seconds": p95, "runs": RUNS}
            )
        mean, p95 = _figures(times[exit_.source, exit_.outputs].seconds)
        worst = max(worst, abs(total - mean) / mean if mean else 0.0)
        exits.append(
            ExitTime(exit=exit_.name, output=exit_.end, mean_seconds=mean, p95_seconds=p95, runs=RUNS)
        )
    return DeviceProfile(
        model=card.digest,
        device_class=subject.server.device_class,
        selection=subject.selection,
        node=subject.server.name,
        segments=tuple(segments.values()),
        exits=tuple(exits),
        relative_error=worst,
        assumed=tuple(_assumed(card.inputs)),
    )


def _segments(card: ModelCard, exit_name: str) -> list[Slicing]:
    exit_ = next(each for each in card.exits if each.name == exit_name)
    return list(pairwise([*(cut.names for cut in exit_.cuts), exit_.outputs]))


def _figures(seconds: tuple[float, ...]) -> tuple[float, float]:
    """Returns the mean and the 95th percentile."""
    ordered = sorted(seconds)
    return fmean(ordered), ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def _assumed(inputs: Iterable[Tensor]) -> Iterable[AssumedSize]:
    for tensor in inputs:
        for axis, size in enumerate(tensor.shape):
            if axis and size < 0:
                yield AssumedSize(input=tensor.name, dimension=axis, size=1)
