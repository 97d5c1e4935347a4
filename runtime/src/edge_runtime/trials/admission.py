"""Decides which slices may run in this process: by recorded verdicts, or by a trial in a child process.

Blocking: one thread at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from mmap import mmap
from pathlib import Path
from typing import Any, Final, Self

from edge_runtime.errors import CannotLoad, DigestMismatch, NotTried
from edge_runtime.inference.memory import UNLIMITED, Memory, ways
from edge_runtime.inference.sessions import engine_version, provider
from edge_runtime.samples.flags import NOTHING, Given
from edge_runtime.tensors import Tensor
from edge_runtime.trials.child import MODULE
from edge_runtime.trials.child_process import Child, Ended
from edge_runtime.trials.findings import EXAMINERS
from edge_runtime.trials.records import Records
from edge_runtime.trials.verdicts import (
    Bounds,
    Engine,
    Outcome,
    Verdict,
    judged,
    key_of,
    out_of_memory,
    overran,
)

_log = logging.getLogger(__name__)

SECONDS: Final = 60.0
"""Time limit for loading and running one slice, by the wall clock (a slice that only waits uses no processor)
without the time it waited for a processor."""
OWN: Final = 96 << 20
"""Bytes that the trial process takes without a slice, and some for a small one."""
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Subject:
    """A slice, or a whole file, that is tried as it will be used.

    source: its bytes, or their file. size: in bytes. digest: key of the verdict; without one it is tried each
    time. must_fit: whether its outputs must match the declared ones. given: inputs to run it on; the rest are
    zeros.
    """

    what: str
    source: bytes | mmap | Path
    size: int
    digest: str = ""
    inputs: tuple[Tensor, ...] | None = None
    outputs: tuple[Tensor, ...] | None = None
    must_fit: bool = True
    given: Given = NOTHING

    @property
    def is_kept(self) -> bool:
        """Whether its file keeps its content, so that its weights can be mapped."""
        return bool(self.digest) and isinstance(self.source, Path)


class Trials:
    """At most one trial process, and its verdicts. `started` counts the processes."""

    def __init__(
        self,
        records: Records | None = None,
        memory: Memory = UNLIMITED,
        threads: int = 1,
        seconds: float = SECONDS,
        *,
        clock: Callable[[], float] = time.time,
        version: Callable[[], str] = engine_version,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """busy: whether requests are being computed, for which a trial is paused."""
        self._records, self._memory, self._threads = records or Records(), memory, threads
        self._seconds, self._clock, self._version, self._busy = seconds, clock, version, busy
        self._child: Child | None = None
        self._trying = ""
        self._closed = self._broken_off = False
        self.started = 0

    def begin(self) -> None:
        """Resets an earlier `break_off`, so that further trials can run."""
        self._broken_off = False

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    @property
    def engine(self) -> Engine:
        """What verdicts hold for."""
        return Engine(self._version(), provider().name, self._threads, tuple(EXAMINERS))

    def known(self, digest: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Verdict | None:
        """The verdict on a slice; None if it must be tried, for the first time or again.

        Callable from any thread; a slice in its trial has no verdict yet.
        """
        key = key_of(digest, inputs, outputs, self.engine)
        verdict = self._records.get(key) if key != self._trying else None
        return None if verdict is None or verdict.stale(self._clock(), self._bounds()) else verdict

    def admit(self, subject: Subject) -> Verdict:
        """Returns the verdict if a subject can be used here. Raises CannotLoad or a subclass if not."""
        verdict = self.judge(subject)
        error = verdict.error(subject.what)
        if error is not None:
            raise error
        return verdict

    def judge(self, subject: Subject) -> Verdict:
        """Returns the verdict, by a trial if none is recorded; the process then waits for the next one.

        Raises NotTried if there can be no trial now, and DigestMismatch if the file does not have its digest.
        """
        key, earlier = "", None
        if subject.digest:
            key = key_of(subject.digest, subject.inputs or (), subject.outputs or (), self.engine)
            earlier = self._records.get(key)
            if earlier is not None and not earlier.stale(self._clock(), self._bounds()):
                return earlier
        if self._stopped():
            raise NotTried(f"{subject.what}: not tried, because it is no longer needed")
        self._trying = key
        try:
            return self._judge_anew(subject, key, earlier)
        finally:
            self._trying = ""

    def _judge_anew(self, subject: Subject, key: str, earlier: Verdict | None) -> Verdict:
        attempts = 1 + (earlier.attempts if earlier is not None else 0)
        if key:  # if the trial takes the node down, the next start does not begin with the same slice
            begun = Verdict(
                Outcome.BROKEN_OFF,
                "the runtime ended during its trial: it will be retried",
                self._clock(),
                attempts,
            )
            self._records.put(key, subject.digest, begun)
        try:
            verdict = replace(self._try(subject), at=self._clock(), attempts=attempts)
        except BaseException:
            if key:
                self._restore(key, subject.digest, earlier)
            raise
        if key and self._stopped():
            self._restore(key, subject.digest, earlier)
        elif key:
            self._records.put(key, subject.digest, verdict)
        return verdict

    def memory(self, subject: Subject, *, packed: bool) -> int | None:
        """Bytes of memory that a subject takes at most while it is loaded from its file and run.

        None if that fails, as with too little memory.
        """
        peak = self._try_once(subject, packed=packed).findings.get("peak")
        return peak if isinstance(peak, int) else None

    def check_room(self, subject: Subject) -> None:
        """Raises CannotLoad without enough memory for the trial, which says nothing about the slice."""
        on_disk = subject.is_kept
        self._memory.check(subject.what, subject.size, on_disk=on_disk)
        room, factor = self._memory.room(), ways(subject.size, on_disk=on_disk)[-1]
        if OWN + factor * subject.size > room:
            raise CannotLoad(
                f"{subject.what} cannot be tried: a separate process needs {OWN / _MIB:.0f} MiB and "
                f"{factor:g} times the slice's {subject.size / _MIB:.0f} MiB, but {room / _MIB:.0f} MiB are "
                f"free: raise the memory limit or run less at this node"
            )

    @property
    def pid(self) -> int | None:
        """Id of the process that tries slices; None while no process runs."""
        child = self._child
        return child.pid if child is not None else None

    def rest(self) -> None:
        """Ends the process, if any, because there are no further trials now."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def keep_only(self, digests: Collection[str]) -> None:
        """Removes old verdicts of other slices."""
        self._records.keep_only(digests)

    def break_off(self, *, for_good: bool = False) -> None:
        """Ends the current trial and makes the remaining ones raise NotTried. Callable from any thread."""
        self._broken_off = True
        self._closed = self._closed or for_good

    def _stopped(self) -> bool:
        return self._broken_off or self._closed

    def _restore(self, key: str, digest: str, earlier: Verdict | None) -> None:
        if earlier is None:
            self._records.remove(key)
        else:
            self._records.put(key, digest, earlier)

    def _try(self, subject: Subject) -> Verdict:
        fresh = self._child is None
        verdict = self._try_once(subject)
        if not fresh and verdict.outcome in (Outcome.CRASHED, Outcome.OVERRAN):
            # An earlier trial may have caused this: only the result in a new process counts.
            self.rest()
            verdict = self._try_once(subject)
        return verdict

    def _try_once(self, subject: Subject, *, packed: bool | None = None) -> Verdict:
        """packed: with which choice to measure the memory; by default it is not measured, but judged."""
        if self._child is None:
            self._child = Child(MODULE, self._stopped, self._busy)
            self.started += 1
            _log.debug("trying new slices in process %d", self._child.pid)
        bounds = self._bounds()
        path = subject.source if isinstance(subject.source, Path) else None
        fits = OWN + ways(subject.size, on_disk=subject.is_kept)[0] * subject.size <= bounds.room
        request: dict[str, Any] = {
            "path": None if path is None else str(path),
            "packed": fits if packed is None else packed,
            "measured": packed is not None,
            "digest": subject.digest,
            "inputs": _documents(subject.inputs),
            "outputs": _documents(subject.outputs),
            "threads": self._threads,
            "mustFit": subject.must_fit,
            "given": subject.given.document(),
        }
        start = time.perf_counter()
        try:
            payload = b"" if isinstance(subject.source, Path) else subject.source
            answer = self._child.ask(request, bounds, payload)
        except Ended as ended:
            self._child = None
            verdict = judged(ended.end, self.engine, bounds)
            _log.debug("%s: %s", subject.what, verdict.said)
            return verdict
        except BaseException:
            self._child = None
            raise
        return self._read(subject, answer, bounds, time.perf_counter() - start)

    def _read(self, subject: Subject, answer: Mapping[str, Any], bounds: Bounds, seconds: float) -> Verdict:
        if answer.get("damaged"):
            raise DigestMismatch(f"{subject.what}: {subject.source!s} does not have its digest")
        refused = answer.get("refused")
        if refused is None:
            findings = answer["findings"]
            _log.debug("%s passed its trial in %.2f s: %s", subject.what, seconds, findings)
            return Verdict(Outcome.PASSED, findings=findings)
        if out_of_memory(refused):
            return overran("trying it", bounds)
        return Verdict(Outcome.REFUSED, str(refused))

    def _bounds(self) -> Bounds:
        return Bounds(self._seconds, self._memory.room())


def _documents(tensors: tuple[Tensor, ...] | None) -> list[dict[str, Any]] | None:
    return None if tensors is None else [tensor.document() for tensor in tensors]
