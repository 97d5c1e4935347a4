"""The clients of the systems around the operator, and the two clocks."""

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_operator.cluster import Cluster
from edge_operator.store import Store
from edge_operator.tritons.admitted import Admitted
from edge_operator.tritons.lanes import Lanes
from edge_operator.tritons.server_profiles import ServerProfiles
from edge_operator.tritons.triton import Triton

PATIENCE_OF_LOOKS = 5.0
"""Seconds that a look waits for a server: the list of thousands of models takes more than a second. Less than
the time in which the process ends its writes."""


@dataclass(frozen=True, slots=True)
class Clients:
    """API server, model store and Triton; all blocking."""

    cluster: Cluster
    store: Store
    triton: Triton
    admitted: Admitted = field(default_factory=Admitted)
    server_profiles: ServerProfiles | None = None
    """Measures on Triton servers that name no node; None if this process cannot."""
    patient_triton: Triton | None = None
    """Triton for callers with a thread of their own for each server; None: the same."""


def connected(cluster: Cluster, store: Store, triton: Triton) -> Clients:
    """Returns the clients of a process, with a lane for each Triton server."""
    lanes, admitted = Lanes(triton), Admitted()
    profiles, patient = ServerProfiles(lanes, store, admitted), lanes.patiently(PATIENCE_OF_LOOKS)
    return Clients(cluster, store, lanes, admitted, profiles, patient)


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic time, in seconds, and wall-clock time."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
