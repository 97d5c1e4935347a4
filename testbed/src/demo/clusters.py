"""What the demo needs of a cluster, whichever it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Step = Callable[[str], contextlib.AbstractContextManager[None]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Entrance:
    """How a client reaches a node's entry: what to run it under, and where the service listens."""

    prefix: Sequence[str]
    host: str
    http: int = 8080
    grpc: int = 8081


@dataclass(frozen=True)
class Images:
    """Image references that the chart is installed with."""

    operator: str
    runtime: str


@dataclass(frozen=True)
class TritonAddress:
    """A Triton server (host:port of its HTTP endpoint) and the backend that runs slices there."""

    address: str
    backend: str
    node_selector: Mapping[str, str] = field(default_factory=dict)


class Cluster(Protocol):
    """A cluster the demo can install into. Everything that starts a program on it goes through here."""

    @property
    def shaped(self) -> bool:
        """Whether its links can be set."""

    @property
    def images(self) -> Images: ...

    @property
    def triton(self) -> TritonAddress | None:
        """The Triton to write into the device pool; None where the example's own is right."""

    @property
    def cloud_selector(self) -> Mapping[str, str]:
        """Labels of the node for the operator and the model store; empty for any."""

    def start(self, step: Step, say: Say) -> None:
        """Makes the cluster ready to be installed into."""

    def set_speeds(self, speeds: Mapping[str, float]) -> None:
        """Every edge node's speed, in cores, by its device class."""

    def kubectl(self, *args: str, text: str | None = None) -> str: ...

    def helm(self, *args: str) -> str: ...

    def entrance(self, node: str, namespace: str, service: str) -> Entrance:
        """The way from a node (or, where no client can run there, from here) to the Service of its entry."""

    def set_links(self, bps: float | None) -> None:
        """Every edge node's link to `bps` bit/s, 0 to cut it, None for no limit."""

    def stop(self) -> None:
        """Takes away what `start` made."""

    def where_to_look(self) -> Sequence[str]:
        """Commands and folders that show what went wrong."""

    def try_next(self) -> Sequence[str]:
        """Three commands for the cluster that stays."""
