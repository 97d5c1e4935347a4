"""Inferences that wait for the thread: how several are joined into one run and its results split again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_planning.routing.batches import Waiting
from edge_runtime.errors import NotReady
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.model_statistics import Execution
from edge_runtime.tensors import Array, batch_size

InferenceResult = list[Array] | Exception
Said = Callable[[Sequence[float]], None]
Ran = Callable[[Execution], None]


@dataclass(slots=True, eq=False)
class Job:
    """One inference and the future that its client's request awaits.

    said: called with the waits of the jobs of one run that have the same `said`. ran: likewise with a run.
    begun: when the run started that computed it, on the clock of its arrival.
    """

    session: Session
    feeds: Mapping[str, Array]
    names: Sequence[str] | None
    halt: Halt
    future: asyncio.Future[list[Array]]
    asked: Waiting
    said: Said | None = None
    ran: Ran | None = None
    begun: float = 0.0

    @property
    def left(self) -> bool:
        """Whether its result is no longer needed."""
        return self.future.cancelled() or self.halt.wanted

    @property
    def wanted(self) -> list[str]:
        """The requested outputs, by default all in the model's order."""
        return list(self.names or (t.name for t in self.session.outputs))


def resolve(jobs: Sequence[Job], outcomes: Sequence[InferenceResult]) -> None:
    """Sets the outcomes of jobs that are still awaited. Runs on their event loop."""
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.future.done():
            continue
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)


def shapes(session: Session, feeds: Mapping[str, Array]) -> tuple[int, tuple[object, ...] | None]:
    """Rows of a request, and the key of the requests that can share a batch with it.

    The key is None if it runs alone: the graph is not proven to keep rows separate, or its inputs have
    different numbers of rows.
    """
    rows = {array.shape[0] if array.ndim else 0 for array in feeds.values()}
    if session.proven.alone or len(rows) != 1 or 0 in rows:
        return 1, None
    items = tuple((name, array.dtype.char, array.shape[1:]) for name, array in feeds.items())
    return int(rows.pop()), (id(session), items)


def going_down() -> NotReady:
    """The outcome of jobs that the end of the process leaves without a run."""
    return NotReady("the server is shutting down: send the request to another one")


def report_waits(jobs: Sequence[Job]) -> None:
    """Tells each service in a run that starts how long its own requests waited."""
    waits: dict[Said, list[float]] = {}
    for job in jobs:
        if job.said is not None:
            waits.setdefault(job.said, []).append(job.begun - job.asked.arrival)
    for said, seconds in waits.items():
        said(seconds)


def report_run(jobs: Sequence[Job], inferring: float, stacking: float = 0.0, splitting: float = 0.0) -> None:
    """Tells each service in a successful run what it took, with the waits of its own requests."""
    waits: dict[Ran, list[float]] = {}
    for job in jobs:
        if job.ran is not None:
            waits.setdefault(job.ran, []).append(job.begun - job.asked.arrival)
    total = sum(batch_size(job.session.inputs, job.feeds) for job in jobs) if waits else 0
    for ran, seconds in waits.items():
        ran(Execution(total, seconds, inferring, stacking, splitting))


def stacked(feeds: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The inputs of one run for all."""
    return {name: np.concatenate([each[name] for each in feeds]) for name in feeds[0]}


def split(jobs: Sequence[Job], results: Mapping[str, Array]) -> list[InferenceResult] | None:
    """Each job's rows, as views; None if the outputs do not have the rows of all jobs."""
    if any(result.shape[:1] != (sum(j.asked.rows for j in jobs),) for result in results.values()):
        return None
    found: list[InferenceResult] = []
    begin = 0
    for job in jobs:
        end = begin + job.asked.rows
        found.append([results[name][begin:end] for name in job.wanted])
        begin = end
    return found


def wanted(jobs: Sequence[Job]) -> list[str]:
    """The outputs that any job requests, without repetition."""
    names: dict[str, None] = {}
    for job in jobs:
        names.update(dict.fromkeys(job.wanted))
    return list(names)


def joint_halt(jobs: Sequence[Job]) -> Halt:
    """A halt that ends the run once all of its jobs are halted."""
    joint = Halt()

    def look() -> None:
        if all(job.halt.wanted for job in jobs):
            joint.now()

    for job in jobs:
        job.halt.told = look
    look()
    return joint
