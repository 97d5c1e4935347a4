"""The interface of a cluster on which the demo runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Step = Callable[[str], contextlib.AbstractContextManager[None]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Entrance:
    """How a client reaches an entry node: the prefix of its command, and the service's address."""

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


class DemoCluster(Protocol):
    """A cluster into which the demo can install. All programs on it are started through this interface."""

    @property
    def shaped(self) -> bool:
        """Whether its links can be set."""

    @property
    def images(self) -> Images: ...

    @property
    def triton(self) -> TritonAddress | None:
        """The Triton server for the device pool; None to keep the example's."""

    @property
    def cloud_selector(self) -> Mapping[str, str]:
        """Labels of the node for the operator and the model store; empty for any."""

    def start(self, step: Step, say: Say) -> None:
        """Prepares the cluster for the installation."""

    def set_speeds(self, speeds: Mapping[str, float | None]) -> None:
        """Sets the speed in cores of all edge nodes of these device classes; None removes the limit."""

    def pin(self, nodes: Sequence[str]) -> None:
        """Runs the pods of each of these nodes on one processor, and those of other nodes on any."""

    def kubectl(self, *args: str, text: str | None = None) -> str: ...

    def helm(self, *args: str) -> str: ...

    def entrance(self, node: str, namespace: str, service: str) -> Entrance:
        """Returns how to reach an entry node's Service, from the node if clients can run there."""

    def reach(self, namespace: str, service: str) -> Entrance:
        """Returns how to reach a Service on port 8080 from the control plane's side of the links."""

    def set_links(self, bps: float | None) -> None:
        """Sets every edge node's link to `bps` bit/s; 0 cuts it, None removes the limit."""

    def stop(self) -> None:
        """Removes what `start` created."""

    def where_to_look(self) -> Sequence[str]:
        """Returns commands and folders for troubleshooting."""

    def try_next(self) -> Sequence[str]:
        """Returns three commands to try on a cluster that is kept."""
