"""Inferences that wait for the thread: what each asks for, and how several become one run and its answers
theirs again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.inference.batches import Waiting
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.tensors import Array

Outcome = list[Array] | Exception


@dataclass(slots=True, eq=False)
class Job:
    """One inference and the future that its caller awaits."""

    session: Session
    feeds: Mapping[str, Array]
    names: Sequence[str] | None
    halt: Halt
    future: asyncio.Future[list[Array]]
    asked: Waiting

    @property
    def left(self) -> bool:
        """Whether nobody needs it any more."""
        return self.future.cancelled() or self.halt.wanted

    @property
    def wanted(self) -> list[str]:
        """The outputs that it asks for, by default all in the model's order."""
        return list(self.names or (t.name for t in self.session.outputs))


def resolve(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    """Gives everyone who still waits the outcome; on their event loop."""
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.future.done():
            continue
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)


def shapes(session: Session, feeds: Mapping[str, Array]) -> tuple[int, tuple[object, ...] | None]:
    """Rows of a request, and what it has in common with those that it may be run with.

    None where it is run alone: the graph is not proven to keep rows apart, or its inputs have not as many.
    """
    rows = {array.shape[0] if array.ndim else 0 for array in feeds.values()}
    if session.proven.alone or len(rows) != 1 or 0 in rows:
        return 1, None
    items = tuple((name, array.dtype.char, array.shape[1:]) for name, array in feeds.items())
    return int(rows.pop()), (id(session), items)


def stacked(feeds: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The inputs of one run for all."""
    return {name: np.concatenate([each[name] for each in feeds]) for name in feeds[0]}


def split(jobs: Sequence[Job], results: Mapping[str, Array]) -> list[Outcome] | None:
    """Everyone's rows, as views; None when the outputs do not have the rows of all."""
    if any(result.shape[:1] != (sum(j.asked.rows for j in jobs),) for result in results.values()):
        return None
    found: list[Outcome] = []
    begin = 0
    for job in jobs:
        end = begin + job.asked.rows
        found.append([results[name][begin:end] for name in job.wanted])
        begin = end
    return found


def wanted(jobs: Sequence[Job]) -> list[str]:
    """The outputs that anyone asks for, each once."""
    names: dict[str, None] = {}
    for job in jobs:
        names.update(dict.fromkeys(job.wanted))
    return list(names)


def joint_halt(jobs: Sequence[Job]) -> Halt:
    """Ends the run once all of its requests are halted."""
    joint = Halt()

    def look() -> None:
        if all(job.halt.wanted for job in jobs):
            joint.now()

    for job in jobs:
        job.halt.told = look
    look()
    return joint
