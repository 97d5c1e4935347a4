"""Selects the candidates of one service at one entry node for the joint choice in a pool."""

import numpy as np

from edge_planning.choosing.candidates import Candidates
from edge_planning.errors import require
from edge_planning.sharing.arrays import Floats, Integers, Mask
from edge_planning.sharing.values import Option


def options_of(
    candidates: Candidates, *, bandwidth: float, deadline: float, rate: float, node: str, triton: str
) -> tuple[tuple[Option, ...], Integers]:
    """Returns the candidates for the joint choice, and the index of each in `candidates`.

    These are the candidates whose latency at the bandwidth (bit/s) meets the deadline (seconds), except those
    that another one dominates: it is at least as accurate and uses no more of any resource.

    Uses are those of a mean request
    times the rate (requests per second). The resources are named `cpu of NODE` (also for an intermediate
    node), `memory of NODE`, `uplink of NODE` and `busy time of TRITON`. If no candidate is in time, the
    result is empty.
    """
    require(np.isfinite(rate) and rate > 0, f"rate {rate} must be finite and > 0")
    require(deadline > 0, f"deadline {deadline} s must be > 0")
    timely = np.flatnonzero(candidates.latencies(bandwidth) <= deadline).astype(np.int64)
    some = candidates.select(timely)
    names = [f"cpu of {node}", f"memory of {node}", f"uplink of {node}", f"busy time of {triton}"]
    columns = [rate * some.mean_head, some.memory, rate * some.bits, rate * some.tail]
    for number, intermediate in enumerate(candidates.intermediates):
        names.append(f"cpu of {intermediate.name}")
        columns.append(np.where(some.intermediate == number, rate * some.intermediate_compute, 0.0))
    uses = np.stack(columns, axis=1)
    kept = np.flatnonzero(front(some.accuracy, uses))
    options = tuple(
        Option(
            float(some.accuracy[index]),
            {name: float(use) for name, use in zip(names, uses[index], strict=True) if use > 0},
            some.name(index),
        )
        for index in kept.tolist()
    )
    return options, timely[kept]


def front(accuracy: Floats, uses: Floats) -> Mask:
    """Returns the mask of rows that no other row dominates in accuracy and uses; of equals, the first."""
    no_worse = accuracy[:, None] >= accuracy
    for column in uses.T:
        no_worse &= column[:, None] <= column
    equal = no_worse & no_worse.T
    first = np.tri(len(accuracy), k=-1, dtype=np.bool_).T
    return np.asarray(~(no_worse & (~equal | first)).any(axis=0))
