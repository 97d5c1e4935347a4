"""Candidates as policies and the simulator use them: their costs as plain numbers."""

from dataclasses import dataclass, field

import numpy as np

from edge_planning.choosing.candidates import Candidates, Floats
from edge_planning.errors import require


@dataclass(frozen=True, slots=True)
class Power:
    """Linear energy model of an entry node: watts above idle while computing and while sending."""

    computing: float = 0.0
    sending: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedCandidates:
    """Candidates as columns, all [candidates]; times in seconds.

    Attributes:
        exit: Index of the exit.
        head, tail: At the entry node and at Triton; the head of a local candidate is all of its compute.
        fixed: All else: round trip, overheads, margins, a third tier.
        bits: Sent over the uplink; 0 if local.
        rest: Time that the entry node needs to finish local candidate j after the head of i; infinite if j is
            not local [i, j].
    """

    names: tuple[str, ...]
    exit: tuple[int, ...]
    head: Floats
    tail: Floats
    fixed: Floats
    bits: Floats
    accuracy: Floats
    deadline: float
    rest: Floats
    power: Power = field(default_factory=Power)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def intercept(self) -> Floats:
        """Seconds without the transfer and without queues."""
        return self.head + self.tail + self.fixed

    @property
    def local(self) -> list[int]:
        """Indices of the candidates that do not need the link."""
        return [int(i) for i in np.flatnonzero(self.bits == 0)]

    def latencies(self, bandwidth: float, node_wait: float = 0.0, backlog: float = 0.0) -> Floats:
        """Returns the latencies at a bandwidth in bit/s, behind `node_wait` seconds and `backlog` bits."""
        remote = self.bits > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            transfer = np.where(remote, np.divide(self.bits + backlog, bandwidth), 0.0)
        return np.where(self.head > 0, node_wait, 0.0) + self.intercept + transfer

    def energy(self, bandwidth: float) -> Floats:
        """Returns the joules of the entry node for each candidate at a bandwidth in bit/s."""
        with np.errstate(divide="ignore", invalid="ignore"):
            sending = np.where(self.bits > 0, np.divide(self.bits, bandwidth), 0.0)
        return self.power.computing * self.head + self.power.sending * sending

    def of_exit(self, number: int) -> list[int]:
        """Returns the indices of the candidates of an exit."""
        return [i for i, exit_ in enumerate(self.exit) if exit_ == number]

    def find(self, name: str) -> int:
        """Returns the index of a name such as `exit5@image`; raises BadValueError if it is unknown."""
        require(name in self.names, f"unknown candidate {name}: use one of {', '.join(self.names)}")
        return self.names.index(name)


def options_of(candidates: Candidates, deadline: float, power: Power | None = None) -> SimulatedCandidates:
    """Converts planner candidates; compute times include their margins as in the planner.

    The remaining time of a local response after the head of another candidate follows from the heads: two
    exits share the trunk before a cut.
    """
    names = tuple(candidates.name(i) for i in range(len(candidates)))
    local = candidates.local
    rest = np.full((len(names), len(names)), np.inf)
    for j in np.flatnonzero(local):
        same = np.flatnonzero((candidates.exit == candidates.exit[j]) & ~local)
        heads = np.append(candidates.head[same], 0.0)
        for i in range(len(names)):
            done = candidates.head[i] * (1 + 1e-12)
            rest[i, j] = candidates.head[j] - float(heads[heads <= done].max())
        rest[local, j] = candidates.head[j]
    return SimulatedCandidates(
        names=names,
        exit=tuple(int(e) for e in candidates.exit),
        head=candidates.head,
        tail=candidates.tail,
        fixed=candidates.intercept - candidates.head - candidates.tail,
        bits=candidates.bits,
        accuracy=candidates.accuracy,
        deadline=deadline,
        rest=rest,
        power=power or Power(),
    )
