"""The outcome of each request."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from edge_planning_lab.simulation.links import Floats
from edge_planning_lab.simulation.scenarios import Scenario

Integers = npt.NDArray[np.int64]


class RequestOutcome(IntEnum):
    """How a request ended. OPEN: it had not ended at the end of the run."""

    OPEN = 0
    IN_TIME = 1
    LATE = 2
    GIVEN_UP = 3
    LOST = 4


@dataclass(frozen=True, slots=True, eq=False)
class RequestRecords:
    """Columns [requests], in order of arrival within each stream.

    Attributes:
        stream: Index in the scenario.
        choice: The chosen candidate.
        by: The candidate that responded, possibly the fallback's; -1 if none did.
        answered: Time of the response; NaN without one.
        bytes: Bytes that crossed the link.
        joules: Of the entry node.
        fallback_computed: Whether the fallback was computed.
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
    fallback_computed: npt.NDArray[np.bool_]

    def of(self, stream: int) -> "RequestRecords":
        """Returns the requests of one stream."""
        keep = self.stream == stream
        return RequestRecords(*(getattr(self, name)[keep] for name in self.__slots__))

    @property
    def utility(self) -> Floats:
        """Accuracy of the response if it was in time, otherwise 0."""
        return np.where(self.outcome == RequestOutcome.IN_TIME, self.accuracy, 0.0)

    @property
    def latency(self) -> Floats:
        """Seconds until the response; NaN without one."""
        return self.answered - self.arrived


@dataclass(frozen=True, slots=True, eq=False)
class SimulationRun:
    """A scenario and its records. probes: number of probes and their bytes, by uplink."""

    scenario: Scenario
    records: RequestRecords
    probes: dict[str, int]
    probe_bytes: dict[str, float]
