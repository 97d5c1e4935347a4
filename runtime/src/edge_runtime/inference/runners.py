"""Runs sessions: on the event loop if a run is known to be short, otherwise on a thread.

Inferences that wait for the thread run in the order and batches that `batches` decides. A run whose result is
no longer needed ends at its next operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

from edge_planning.routing.batches import (
    LARGEST,
    ORDINARY,
    Batch,
    Experience,
    Precedence,
    Waiting,
    next_batch,
    wait_before,
)
from edge_runtime.errors import ModelFailed
from edge_runtime.inference.batch_check import counterpart, same_results
from edge_runtime.inference.jobs import (
    InferenceResult,
    Job,
    Ran,
    Said,
    going_down,
    joint_halt,
    report_run,
    report_waits,
    resolve,
    shapes,
    split,
    stacked,
    wanted,
)
from edge_runtime.inference.sessions import Halt, Session, Shapes, shapes_of
from edge_runtime.inference.slowdowns import Slowdown
from edge_runtime.inference.spare_time import SpareTime
from edge_runtime.model_statistics import Execution
from edge_runtime.tensors import Array, batch_size

_log = logging.getLogger(__name__)

# A hand-over to a thread and back takes 20 microseconds on an idle core: from this duration it is less than a
# tenth of the run.
INLINE: Final = 0.0003
STUCK_AFTER: Final = 30.0
# After this many runs a batch size that seemed to save nothing is tried again: a single stalled run may have
# distorted the estimate.
_CURIOUS: Final = 256
# A session is not checked any more after this many checks without a result.
_UNCLEAR: Final = 4
# The runs of a batch check use synthetic values, on which a model may never return: they get this multiple of
# the request's own run, and this many seconds.
_PROOF_TIMES, _PROOF_LEAST = 10.0, 0.5


@dataclass(slots=True)
class _Run:
    """The current run of the thread: its jobs, its halt and its start."""

    jobs: Sequence[Job]
    halt: Halt
    since: float


class Runner:
    """Runs the sessions of all services of a process."""

    def __init__(
        self,
        largest: int = LARGEST,
        said: Said | None = None,
        clock: Callable[[], float] = time.perf_counter,
        stuck_after: float = STUCK_AFTER,
    ) -> None:
        """largest: maximum rows of a batch; 1 turns batching off. said: called after each run on the thread
        with the wait of each of its requests in seconds, except of those with a `said` of their own.
        stuck_after: seconds after which a run is `stuck`.
        """
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._largest, self._said, self._clock = largest, said, clock
        self._stuck_after = stuck_after
        self._run: _Run | None = None
        self._ended = False
        self._known: WeakKeyDictionary[Session, Experience] = WeakKeyDictionary()
        self._slowdown: Slowdown[Session] = Slowdown()
        self.spare_time = SpareTime()
        self._lock = Lock()
        self._jobs: list[Job] = []
        self._checks: deque[Iterator[None]] = deque()  # of batches, each with runs that are left to do
        self._working = self._after_check = False
        self._runs = self._skipped = 0

    @property
    def known(self) -> MutableMapping[Session, Experience]:
        """The measured run times of each session, which decide its batches."""
        return self._known

    @property
    def slowdown(self) -> float:
        """How much slower followed sessions currently run than at their warm-up."""
        return self._slowdown.factor

    @property
    def spare(self) -> float:
        """The part of a processor's time that requests beyond the planned rates get."""
        return self.spare_time.part(self._clock())

    def spare_wait(self, service: Hashable) -> float:
        """Seconds until the next inference of a service beyond its planned rate can start."""
        return self.spare_time.wait(service, self._clock())

    def take_spare(self, service: Hashable, rate: float, seconds: float) -> float:
        """Takes spare time for an inference of `seconds` beyond the service's rate; returns its wait."""
        return self.spare_time.take(service, rate, seconds, self._clock())

    def next_place(self, service: Hashable) -> float:
        """The place of the service's next request beyond its rate among those of all services."""
        return self.spare_time.place(service)

    def take_place(self, service: Hashable, rate: float, place: float) -> None:
        """Takes the place of a request that was admitted. rate: the service's planned one."""
        self.spare_time.placed(service, rate, place)

    def follow(self, session: Session) -> None:
        """Compares runs of a session with its warm-up, and adapts its expected time to those of others."""
        self._slowdown.follow(session)

    def measured(self, session: Session, seconds: float) -> None:
        """Adds a run on inputs like those of its warm-up.

        If the node has become slower or faster, adapts the expected times of sessions that did not run since.
        """
        self._slowdown.add(session, seconds, self._clock())
        if session.followed is not None and not session.runs_on_caller:
            self.spare_time.ran(session.followed.alone, seconds, self._clock())
        for other, expected in self._slowdown.changes() if self._slowdown.stepped else ():
            known = self._known.get(other)
            if known is not None and other.seconds > 0:
                known.scale(expected / other.seconds)
            other.seconds = expected

    @property
    def queued(self) -> int:
        """Number of inferences that wait for the thread."""
        return len(self._jobs)

    @property
    def running(self) -> float:
        """Seconds since the start of the thread's current run; 0 between runs."""
        run = self._run
        return self._clock() - run.since if run is not None else 0.0

    @property
    def wait(self) -> float:
        """Estimated seconds until the thread has finished the requests that are waiting now."""
        run = self._run
        if run is None and not self._jobs:
            return 0.0
        begun = max(run.jobs[0].session.seconds - self.running, 0.0) if run is not None and run.jobs else 0.0
        return begun + sum(job.session.seconds for job in self._jobs)

    def wait_before(self, deadline: float, seconds: float = 0.0, precedence: Precedence = ORDINARY) -> float:
        """Estimated seconds until an inference with this deadline, on this runner's clock, would start."""
        run, jobs = self._run, list(self._jobs)
        if run is None and not jobs:
            return 0.0
        begun = max(run.jobs[0].session.seconds - self.running, 0.0) if run is not None and run.jobs else 0.0
        waiting, start = [job.asked for job in jobs if not job.left], self._clock() + begun
        return begun + wait_before(
            waiting, deadline, seconds, start, self._largest, self._skipped, precedence=precedence
        )

    def least(self, session: Session, inputs: Mapping[str, Array]) -> float:
        """Estimated seconds of a run on these inputs; at most the session's recent mean.

        The mean is of inputs of all sizes: by it, a small request among large ones would seem late.
        """
        known = self._known.get(session)
        if known is None or not known.largest:
            return session.seconds
        return min(session.seconds, known.mean(shapes(session, inputs)[0]))

    @property
    def busy(self) -> bool:
        """Whether requests are being computed."""
        return self._working

    @property
    def stuck(self) -> str:
        """Why waiting requests will not get a response soon; empty if they will."""
        if self.running <= self._stuck_after:
            return ""
        return f"one inference has been running for more than {self._stuck_after:g} s and blocks the others"

    def run_now(
        self,
        session: Session,
        feeds: Mapping[str, Array],
        names: Sequence[str] | None = None,
        ran: Ran | None = None,
    ) -> list[Array] | None:
        """Returns the session's outputs, computed on the caller's thread; `ran` is called after the run.

        None without a run if this one is not known to be short, or others wait for the thread.
        """
        if session.seconds < INLINE and not self._jobs:
            shapes = shapes_of(feeds)
            if session.expected(shapes) < INLINE:
                start = self._clock()
                results = self._timed(session, feeds, shapes, names)
                if ran is not None:
                    ran(Execution(batch_size(session.inputs, feeds), (0.0,), self._clock() - start))
                return results
        return None

    async def run(
        self,
        session: Session,
        feeds: Mapping[str, Array],
        names: Sequence[str] | None = None,
        deadline: float | None = None,
        said: Said | None = None,
        *,
        precedence: Precedence = ORDINARY,
        ran: Ran | None = None,
    ) -> list[Array]:
        """Returns the session's outputs, computed on the event loop or on a thread by its recent latency.

        deadline: time on this runner's clock, which decides the order with `precedence`. said: as in the
        constructor. ran: called after the run, on the thread that ran it. A cancelled request that waits is
        not run; a run ends at the next operator once all its requests are cancelled. Raises NotReady after
        `end`.
        """
        results = self.run_now(session, feeds, names, ran)
        if results is not None:
            return results
        job = self._job(session, feeds, names, inf if deadline is None else deadline, precedence)
        job.said, job.ran = said or self._said, ran
        with self._lock:
            if self._ended:
                raise going_down()
            self._jobs.append(job)
            idle, self._working = not self._working, True
        if idle:
            self._executor.submit(self._work)
        try:
            return await job.future
        except asyncio.CancelledError:
            job.halt.now()
            raise

    def end(self) -> None:
        """Ends the current run and fails all waiting requests with NotReady, even if the thread is stuck."""
        with self._lock:
            self._ended = True
            jobs, self._jobs = self._jobs, []
        run = self._run
        if run is not None:
            jobs = [*run.jobs, *jobs]
            run.halt.now()
        self._deliver(jobs, [going_down() for _ in jobs])

    def close(self) -> None:
        """Ends the current run and rejects further work."""
        self.end()
        self._executor.shutdown(wait=False)

    def _job(
        self,
        session: Session,
        feeds: Mapping[str, Array],
        names: Sequence[str] | None,
        deadline: float,
        precedence: Precedence,
    ) -> Job:
        known = self._known.get(session)
        if known is None:
            known = self._known[session] = Experience(
                session.seconds, proven=False if session.proven.alone else None
            )
        rows, stack = shapes(session, feeds)
        if self._largest == 1 or known.proven is False:
            stack = None
        waiter: asyncio.Future[list[Array]] = asyncio.get_running_loop().create_future()
        waiting = Waiting(stack, known, rows, deadline, self._clock(), precedence)
        return Job(session, feeds, names, Halt(), waiter, waiting)

    def _work(self) -> None:
        """On the thread: runs until nothing waits.

        Between two runs of requests is at most one of a check, and a request runs alone after it: the others
        have waited for the check already.
        """
        while True:
            jobs: list[Job] = []
            try:
                jobs, batch = self._take()
                if jobs:
                    self._perform(jobs, batch)
                elif not self._checks:
                    return
                self._continue_check()
            except Exception as error:  # a bug here: clients get an error instead of waiting forever
                _log.exception("the inference queue failed")
                if not jobs:
                    with self._lock:
                        jobs, self._jobs = self._jobs, []
                self._deliver(jobs, [error] * len(jobs))

    def _take(self) -> tuple[list[Job], Batch]:
        """Takes the next run out of the queue; no jobs if nothing waits."""
        with self._lock:
            before, waiting = self._jobs, [job for job in self._jobs if not job.left]
            self._jobs = list(waiting)
            if not waiting and not self._checks:
                self._working = False
        if len(waiting) < len(before):
            left = [job for job in before if job not in waiting]
            self._deliver(left, [ModelFailed("cancelled before it ran") for _ in left])
        if not waiting:
            return [], Batch(())
        self._runs += 1
        curious = self._runs % _CURIOUS == 0
        now = self._clock()
        largest = 1 if self._after_check else self._largest
        batch = next_batch([job.asked for job in waiting], now, largest, self._skipped, curious=curious)
        self._skipped = self._skipped + 1 if batch.passed else 0
        jobs = [waiting[i] for i in batch.chosen]
        with self._lock:
            for job in jobs:
                self._jobs.remove(job)
                job.begun = now
        self.spare_time.started(max(job.asked.precedence.beyond for job in jobs))
        report_waits(jobs)
        return jobs, batch

    def _perform(self, jobs: list[Job], batch: Batch) -> None:
        if len(jobs) == 1:
            self._alone(jobs[0], proof=batch.proof)
            return
        outcomes = self._together(jobs)
        if outcomes is not None:
            self._deliver(jobs, outcomes)
        else:
            bad = sum(not self._alone(job) for job in jobs)
            if bad == 0:  # the batch failed, but none of its requests alone
                jobs[0].asked.known.proven = False

    @contextlib.contextmanager
    def _begun(self, jobs: Sequence[Job], halt: Halt) -> Iterator[None]:
        """Marks the run of these jobs as current."""
        self._run = _Run(jobs, halt, self._clock())
        try:
            if self._ended:
                halt.now()
            yield
        finally:
            self._run = None

    def _alone(self, job: Job, *, proof: bool = False) -> bool:
        """Runs one job and delivers its outcome. Returns whether it succeeded."""
        start = self._clock()
        try:
            with self._begun([job], job.halt):
                names = None if proof else job.names
                results = self._timed(job.session, job.feeds, shapes_of(job.feeds), names, job.halt)
        except Exception as error:  # delivered to the client
            self._deliver([job], [error])
            return False
        seconds = self._clock() - start
        job.asked.known.add(job.asked.rows, seconds)
        report_run([job], seconds)
        if not proof:
            self._deliver([job], [results])
            return True
        by_name = {t.name: array for t, array in zip(job.session.outputs, results, strict=True)}
        self._deliver([job], [[by_name[name] for name in job.wanted]])
        job.asked.known.checking = True
        self._checks.append(self._prove(job, results))
        return True

    def _timed(
        self,
        session: Session,
        feeds: Mapping[str, Array],
        shapes: Shapes,
        names: Sequence[str] | None,
        halt: Halt | None = None,
    ) -> list[Array]:
        start, computed = time.perf_counter(), time.thread_time()
        results = session.run(feeds, names, halt)
        seconds = passed = time.perf_counter() - start
        if seconds >= INLINE and session.runs_on_caller:
            # A short run that was preempted or waited for the interpreter's lock is still a short one.
            computed = time.thread_time() - computed
            seconds = computed if computed < INLINE else seconds
            self.spare_time.ran(computed, passed, self._clock())
        session.took(shapes, seconds)
        if session.followed is not None and shapes == session.warm_shapes:
            self.measured(session, passed)
        return results

    def _continue_check(self) -> None:
        """Does the next run of the oldest check."""
        self._after_check = bool(self._checks)
        if self._ended:
            self._checks.clear()
        elif self._checks:
            for _ in self._checks[0]:
                return  # it has another run
            self._checks.popleft()

    def _together(self, jobs: Sequence[Job]) -> list[InferenceResult] | None:
        """The outcomes of one run for all; None if each has to be run alone."""
        names, halt, start = wanted(jobs), joint_halt(jobs), self._clock()
        try:
            feeds = stacked([job.feeds for job in jobs])
            filled = self._clock()
            with self._begun(jobs, halt):
                results = jobs[0].session.run(feeds, names, halt)
        except Exception as error:  # one bad request must not fail the others of its batch
            if all(job.left for job in jobs):
                return [ModelFailed(f"cancelled: {error}") for _ in jobs]
            return None
        finally:
            for job in jobs:
                job.halt.told = None
        known, ended = jobs[0].asked.known, self._clock()
        known.add(sum(job.asked.rows for job in jobs), ended - start)
        outcomes = split(jobs, dict(zip(names, results, strict=True)))
        if outcomes is None:
            known.proven = False
        else:
            report_run(jobs, ended - filled, filled - start, self._clock() - ended)
        return outcomes

    def _prove(self, job: Job, results: list[Array]) -> Iterator[None]:
        """Checks whether the session computes the same results for items in a batch as alone.

        Yields between its two runs, so that requests wait for one of them only.
        """
        known = job.asked.known
        try:
            other = counterpart(job.feeds)
            if other is None:
                return
            limit = max(_PROOF_LEAST, _PROOF_TIMES * known.most(job.asked.rows))
            apart = [results, self._checked(job.session, other, limit)]
            yield
            start = self._clock()
            together = self._checked(job.session, stacked([job.feeds, other]), limit)
            known.add(2 * job.asked.rows, self._clock() - start)
            known.proven = same_results(apart, together)
        except Exception as error:  # then a batch would fail, too
            known.proven = False
            _log.info("requests are not batched: two of them failed together: %s", error)
            return
        finally:
            known.checking = False
        if known.proven is None:
            known.unclear += 1
            if known.unclear == _UNCLEAR:
                known.proven = False
                _log.info("requests are not batched: outputs that are not finite cannot be compared")
        elif not known.proven:
            _log.info("requests are not batched: two of them gave other results together than one by one")

    def _checked(self, session: Session, feeds: Mapping[str, Array], limit: float) -> list[Array]:
        """The outputs of a run of a check, which is ended after `limit` seconds."""
        halt = Halt()
        with self._begun([], halt), halt.after(limit):
            return session.run(feeds, None, halt)

    def _deliver(self, jobs: Sequence[Job], outcomes: Sequence[InferenceResult]) -> None:
        """Delivers outcomes to the event loop that waits for them."""
        if self._ended:
            outcomes = [going_down() if isinstance(o, ModelFailed) else o for o in outcomes]
        if jobs:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nothing waits on it
                jobs[0].future.get_loop().call_soon_threadsafe(resolve, jobs, outcomes)
