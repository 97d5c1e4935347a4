"""Every exit with every cut that a mode allows, and what each costs; in arrays, one entry per candidate.

The latency of a candidate as a function of bandwidth is intercept + bits / bandwidth (Neurosurgeon, section
4.2; Edgent, section 3.2): head + transfer + tail, each compute part with its percentile margin, plus the
round trip and fixed costs. The reply (a vector of scores) is small and counted in the round trip. The
percentiles of head and tail are added, which is on the safe side: both being slow at once is rarer than
either.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_planning.errors import require
from edge_planning.models import Exit
from edge_planning.problems import EntryProblem, Mode

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
LOCAL = -1


@dataclass(frozen=True, slots=True)
class Latency:
    """A candidate's latency at one bandwidth, in seconds, by part; margin is what the percentile adds."""

    head: float
    transfer: float
    tail: float
    fixed: float
    margin: float

    @property
    def total(self) -> float:
        return self.head + self.transfer + self.tail + self.fixed + self.margin


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """exit: index in the model's exits. cut: index in the exit's cuts, or LOCAL. Times in seconds."""

    exits: tuple[Exit, ...]
    exit: Integers
    cut: Integers
    accuracy: Floats
    head: Floats
    tail: Floats
    fixed: Floats
    margin: Floats
    bits: Floats

    def __len__(self) -> int:
        return len(self.exit)

    @property
    def intercept(self) -> Floats:
        """Seconds that do not depend on the bandwidth."""
        return self.head + self.tail + self.fixed + self.margin

    @property
    def local(self) -> Mask:
        """Which candidates need no link."""
        return np.equal(self.cut, LOCAL)

    def latencies(self, bandwidth: float) -> Floats:
        """Seconds of each candidate at a bandwidth in bit/s; infinite beyond a link without any."""
        require(bandwidth >= 0, f"bandwidth {bandwidth} bit/s is negative or not a number")
        transfer = self.bits / bandwidth if bandwidth > 0 else np.where(self.local, 0.0, np.inf)
        return self.intercept + transfer

    def thresholds(self, deadline: float) -> Floats:
        """Bandwidth in bit/s from which each candidate keeps the deadline; 0: always, infinite: never."""
        slack = deadline - self.intercept
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(
                slack > 0, self.bits / slack, np.where((slack == 0) & (self.bits == 0), 0.0, np.inf)
            )

    def latency(self, index: int, bandwidth: float) -> Latency:
        """The parts of one candidate's latency."""
        bits = float(self.bits[index])
        transfer = 0.0 if self.cut[index] == LOCAL else bits / bandwidth if bandwidth > 0 else float("inf")
        return Latency(
            head=float(self.head[index]),
            transfer=transfer,
            tail=float(self.tail[index]),
            fixed=float(self.fixed[index]),
            margin=float(self.margin[index]),
        )

    def name(self, index: int) -> str:
        """`exit@tensor`, or `exit@local`."""
        exit_ = self.exits[int(self.exit[index])]
        return f"{exit_.name}@{self.tensor(index) or 'local'}"

    def tensor(self, index: int) -> str | None:
        """The tensor that crosses the link; None for a local candidate."""
        cut = int(self.cut[index])
        return None if cut == LOCAL else self.exits[int(self.exit[index])].cuts[cut].tensor

    def select(self, keep: Mask | Integers) -> "Candidates":
        """The candidates that a mask or indices choose."""
        floats = (self.accuracy, self.head, self.tail, self.fixed, self.margin, self.bits)
        return Candidates(self.exits, self.exit[keep], self.cut[keep], *(column[keep] for column in floats))


def candidates(problem: EntryProblem) -> Candidates:
    """All that the problem's mode, remote end and lowest accuracy allow; may be empty."""
    exits = problem.model.exits
    rows = [row for number, exit_ in enumerate(exits) for row in _of_exit(problem, number, exit_)]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 8).T
    every = Candidates(exits, table[0].astype(np.int64), table[1].astype(np.int64), *table[2:])
    return every.select(_allowed(every, problem))


def _of_exit(problem: EntryProblem, number: int, exit_: Exit) -> list[tuple[float, ...]]:
    scale, percentile = problem.compute_scale, problem.slo.percentile
    extra = problem.entry.margin(exit_, percentile) - 1
    whole = problem.entry.whole(exit_) * scale
    rows: list[tuple[float, ...]] = [
        (number, LOCAL, exit_.accuracy, whole, 0.0, problem.local_overhead, whole * extra, 0.0)
    ]
    if problem.remote is None:
        return rows
    heads = np.concatenate(([0.0], np.cumsum(problem.entry.means(exit_))))[:-1] * scale
    tails = np.cumsum(problem.remote.means(exit_)[::-1])[::-1] * scale
    margins = heads * extra + tails * (problem.remote.margin(exit_, percentile) - 1)
    fixed = problem.local_overhead + problem.hop_overhead + problem.rtt
    return rows + [
        (number, cut, exit_.accuracy, heads[cut], tails[cut], fixed, margins[cut], exit_.cuts[cut].size * 8.0)
        for cut in range(len(exit_.cuts))
    ]


def _allowed(every: Candidates, problem: EntryProblem) -> Mask:
    full = np.equal(every.exit, len(every.exits) - 1)
    match problem.mode:
        case Mode.LOCAL_ONLY:
            allowed = full & every.local
        case Mode.CLOUD_ONLY:
            allowed = full & np.equal(every.cut, 0)
        case Mode.PARTITION_ONLY:
            allowed = full
        case Mode.RIGHT_SIZING_ONLY:
            allowed = every.local
        case Mode.AUTO:
            allowed = np.full(len(every), True)
    return np.logical_and(allowed, every.accuracy >= (problem.min_accuracy or 0.0))
