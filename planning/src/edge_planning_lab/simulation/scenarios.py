"""The input of a simulation: places, links, and the streams of requests that use them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any

from edge_planning.errors import require
from edge_planning_lab.baselines.options import SimulatedCandidates
from edge_planning_lab.baselines.policies import Policy
from edge_planning_lab.simulation.links import Bandwidth, Floats


@dataclass(frozen=True, slots=True)
class Uplink:
    """A link with one transfer at a time, first come, first served.

    If nothing was measured for `probe_every` seconds and the link is free, a probe of `probe_bytes` is sent
    for policies that use probes. It is given up after `probe_within` seconds.
    """

    name: str
    bandwidth: Bandwidth
    probe_bytes: int = 8192
    probe_every: float = 2.0
    probe_within: float = 2.0

    def __post_init__(self) -> None:
        for name in ("probe_bytes", "probe_every", "probe_within"):
            value = getattr(self, name)
            require(0 < value < inf, f"uplink {self.name}: {name} {value} must be finite and > 0")


@dataclass(frozen=True, slots=True)
class SimulatedServer:
    """A Triton server: a number of instances with one queue."""

    name: str
    instances: int = 1

    def __post_init__(self) -> None:
        require(self.instances >= 1, f"server {self.name}: {self.instances} instances")


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """The requests of one service at one entry node; arrivals in rising seconds.

    `patience` is the time in seconds after which a request without a response is given up: it leaves its
    queue and its transfer is aborted. None: the deadline.
    """

    service: str
    tenant: str
    node: str
    uplink: str
    server: str
    options: SimulatedCandidates
    policy: Policy[Any]
    arrivals: Floats
    patience: float | None = None


class Broken(StrEnum):
    """The kind of a fault: a link without bandwidth, a node that loses its requests, a Triton server."""

    LINK = "link"
    NODE = "node"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Fault:
    """The failure of the link, node or server with that name from `start` to `until` (s)."""

    kind: Broken
    name: str
    start: float
    until: float = inf

    def __post_init__(self) -> None:
        require(self.start >= 0, f"fault of {self.name}: start {self.start} s must be >= 0")
        require(self.start < self.until, f"fault of {self.name}: ends at {self.until} s, before it begins")


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """The input of a run. Entry nodes have one compute server each, first come, first served.

    Attributes:
        weights: Of tenants; 1 by default.
        guard: Time in seconds by which the fallback starts before the latest possible moment.
    """

    uplinks: Sequence[Uplink]
    servers: Sequence[SimulatedServer]
    streams: Sequence[Stream]
    duration: float
    weights: Mapping[str, float] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    guard: float = 0.005

    def __post_init__(self) -> None:
        require(0 < self.duration < inf, f"scenario: duration {self.duration} s must be finite and > 0")
        require(0 <= self.guard < inf, f"scenario: guard {self.guard} s must be finite and >= 0")
        uplinks, servers = {u.name for u in self.uplinks}, {s.name for s in self.servers}
        require(len(uplinks) == len(self.uplinks), "scenario: two uplinks have the same name")
        require(len(servers) == len(self.servers), "scenario: two servers have the same name")
        nodes = {stream.node for stream in self.streams}
        for stream in self.streams:
            late = stream.patience
            require(late is None or late > 0, f"service {stream.service}: patience {late} s must be > 0")
            require(stream.uplink in uplinks, f"service {stream.service}: no uplink {stream.uplink}")
            require(stream.server in servers, f"service {stream.service}: no server {stream.server}")
        known = {Broken.LINK: uplinks, Broken.NODE: nodes, Broken.SERVER: servers}
        for fault in self.faults:
            require(fault.name in known[fault.kind], f"fault: no {fault.kind} {fault.name}")
        for tenant, weight in self.weights.items():
            require(weight > 0, f"tenant {tenant}: weight {weight} must be > 0")
