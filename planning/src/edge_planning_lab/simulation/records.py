"""What happened to each request."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from edge_planning_lab.simulation.links import Floats
from edge_planning_lab.simulation.scenarios import Scenario

Integers = npt.NDArray[np.int64]


class Outcome(IntEnum):
    """How a request ended. OPEN: not yet, when the run did."""

    OPEN = 0
    IN_TIME = 1
    LATE = 2
    GIVEN_UP = 3
    LOST = 4


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Columns, [requests], in order of arrival within each stream.

    stream: index in the scenario. choice: the candidate that was decided on; by: the one that answered (the
    insurance may have); -1 where none did. answered: moment of the answer, NaN without one. bytes: that
    crossed the link. joules: of the entry node. insured: whether the insurance computed.
    """

    stream: Integers
    arrived: Floats
    answered: Floats
    outcome: Integers
    choice: Integers
    by: Integers
    accuracy: Floats
    bytes: Floats
    joules: Floats
    insured: npt.NDArray[np.bool_]

    def of(self, stream: int) -> "Records":
        """The requests of one stream."""
        keep = self.stream == stream
        return Records(*(getattr(self, name)[keep] for name in self.__slots__))

    @property
    def utility(self) -> Floats:
        """The accuracy of what was answered in time, else 0."""
        return np.where(self.outcome == Outcome.IN_TIME, self.accuracy, 0.0)

    @property
    def latency(self) -> Floats:
        """Seconds until the answer, NaN without one."""
        return self.answered - self.arrived


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A scenario with what came of it. probes: how many were sent, and their bytes, by uplink."""

    scenario: Scenario
    records: Records
    probes: dict[str, int]
    probe_bytes: dict[str, float]
