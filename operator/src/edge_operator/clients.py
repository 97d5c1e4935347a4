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


@dataclass(frozen=True, slots=True)
class Clients:
    """API server, model store and Triton; all blocking."""

    cluster: Cluster
    store: Store
    triton: Triton
    admitted: Admitted = field(default_factory=Admitted)
    server_profiles: ServerProfiles | None = None
    """Measures on Triton servers that name no node; None if this process cannot."""


def connected(cluster: Cluster, store: Store, triton: Triton) -> Clients:
    """Returns the clients of a process, with a lane for each Triton server."""
    lanes, admitted = Lanes(triton), Admitted()
    return Clients(cluster, store, lanes, admitted, ServerProfiles(lanes, store, admitted))


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic time, in seconds, and wall-clock time."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
