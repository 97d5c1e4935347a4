"""What is simulated: places, links, and the streams of requests that use them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any

from edge_planning.errors import require
from edge_planning_lab.baselines.options import Options
from edge_planning_lab.baselines.policies import Policy
from edge_planning_lab.simulation.links import Bandwidth, Floats


@dataclass(frozen=True, slots=True)
class Uplink:
    """A link that requests cross one after the other, first come, first served.

    While nothing was measured for `probe_every` seconds and the link is free, a probe of `probe_bytes` is
    sent for those policies that want one, and given up after `probe_within` seconds.
    """

    name: str
    bandwidth: Bandwidth
    probe_bytes: int = 8192
    probe_every: float = 2.0
    probe_within: float = 2.0

    def __post_init__(self) -> None:
        for name in ("probe_bytes", "probe_every", "probe_within"):
            value = getattr(self, name)
            require(0 < value < inf, f"uplink {self.name}: {name} {value} is not above 0")


@dataclass(frozen=True, slots=True)
class Server:
    """A Triton server: so many instances, one queue."""

    name: str
    instances: int = 1

    def __post_init__(self) -> None:
        require(self.instances >= 1, f"server {self.name}: {self.instances} instances")


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """The requests of one service at one entry node; arrivals in seconds, rising.

    patience: seconds after its arrival at which a request is given up, if nothing has answered it: it leaves
    its queue, its transfer is aborted. None: the options' deadline.
    """

    service: str
    tenant: str
    node: str
    uplink: str
    server: str
    options: Options
    policy: Policy[Any]
    arrivals: Floats
    patience: float | None = None


class Broken(StrEnum):
    """What a fault takes away: a link's bandwidth, a node with all that is on it, a Triton server."""

    LINK = "link"
    NODE = "node"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Fault:
    """From `start` to `until` (s) the thing of that kind and name is gone."""

    kind: Broken
    name: str
    start: float
    until: float = inf

    def __post_init__(self) -> None:
        require(self.start >= 0, f"fault of {self.name}: start {self.start} s is negative or not a number")
        require(self.start < self.until, f"fault of {self.name}: ends at {self.until} s, before it begins")


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """All of a run. Entry nodes have one compute server each, first come, first served.

    weights: of tenants, 1 where none is given. guard: seconds before the latest possible moment at which the
    insurance begins to compute.
    """

    uplinks: Sequence[Uplink]
    servers: Sequence[Server]
    streams: Sequence[Stream]
    duration: float
    weights: Mapping[str, float] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    guard: float = 0.005

    def __post_init__(self) -> None:
        require(0 < self.duration < inf, f"scenario: duration {self.duration} s is not a time above 0")
        require(0 <= self.guard < inf, f"scenario: guard {self.guard} s is negative or not a number")
        uplinks, servers = {u.name for u in self.uplinks}, {s.name for s in self.servers}
        require(len(uplinks) == len(self.uplinks), "scenario: two uplinks have the same name")
        require(len(servers) == len(self.servers), "scenario: two servers have the same name")
        nodes = {stream.node for stream in self.streams}
        for stream in self.streams:
            late = stream.patience
            require(late is None or late > 0, f"service {stream.service}: patience {late} s is not above 0")
            require(stream.uplink in uplinks, f"service {stream.service}: no uplink {stream.uplink}")
            require(stream.server in servers, f"service {stream.service}: no server {stream.server}")
        known = {Broken.LINK: uplinks, Broken.NODE: nodes, Broken.SERVER: servers}
        for fault in self.faults:
            require(fault.name in known[fault.kind], f"fault: no {fault.kind} {fault.name}")
        for tenant, weight in self.weights.items():
            require(weight > 0, f"tenant {tenant}: weight {weight} is not above 0")
