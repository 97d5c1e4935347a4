"""The ways to answer as a policy and the simulator see them: a candidate's costs in plain numbers."""

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
class Options:
    """Candidates as columns, all [candidates].

    exit: index of the exit. head, tail, fixed: seconds at the entry node, at Triton, and of all else: round
    trip, overheads, margins, a third tier; head of a local candidate is all of its compute. bits: what
    crosses the uplink, 0: local.
    deadline in seconds. rest[i, j]: seconds that the entry node still needs to finish local candidate j when
    the head of i is done already; infinite where j is not local.
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
        """Seconds without the transfer, nobody waiting."""
        return self.head + self.tail + self.fixed

    @property
    def local(self) -> list[int]:
        """Indices of the candidates that need no link."""
        return [int(i) for i in np.flatnonzero(self.bits == 0)]

    def latencies(self, bandwidth: float, node_wait: float = 0.0, backlog: float = 0.0) -> Floats:
        """Seconds of each at a bandwidth in bit/s, behind seconds of compute and bits that wait."""
        remote = self.bits > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            transfer = np.where(remote, np.divide(self.bits + backlog, bandwidth), 0.0)
        return np.where(self.head > 0, node_wait, 0.0) + self.intercept + transfer

    def energy(self, bandwidth: float) -> Floats:
        """Joules of the entry node for each at a bandwidth in bit/s."""
        with np.errstate(divide="ignore", invalid="ignore"):
            sending = np.where(self.bits > 0, np.divide(self.bits, bandwidth), 0.0)
        return self.power.computing * self.head + self.power.sending * sending

    def of_exit(self, number: int) -> list[int]:
        """Indices of the candidates of an exit."""
        return [i for i, exit_ in enumerate(self.exit) if exit_ == number]

    def find(self, name: str) -> int:
        """The index of a name such as `exit5@image`; BadValueError when there is none."""
        require(name in self.names, f"no candidate {name}: there are {', '.join(self.names)}")
        return self.names.index(name)


def options_of(candidates: Candidates, deadline: float, power: Power | None = None) -> Options:
    """The options that candidates are; compute times with their margins as the planner expects them.

    What is left to do for a local answer behind the head of another candidate follows from the heads: what
    two exits compute before a cut is the same trunk.
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
    return Options(
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
