"""What the loops of pools share: the clients, the executor, what other loops found out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge_operator.clients import Clients, Clock
from edge_operator.conditions import Finding
from edge_operator.effects.executor import Action
from edge_operator.effects.tails import TailLoader
from edge_operator.keys import NamespaceKey
from edge_operator.loops.server_findings import ServerFindings
from edge_operator.observed.known_nodes import KnownNodes
from edge_operator.pool.plans import PoolPlan
from edge_operator.pool.states import RuntimeFindings
from edge_operator.settings import Settings


class Submits(Protocol):
    """The executor as a loop uses it."""

    def submit(self, action: Action[Any]) -> None: ...
    def mended(self, *keys: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all pool loops share. scope: the watched namespace; None: all.

    findings: what the loop of a namespace found out about its runtimes.
    certificates: returns why certificates are not issued or renewed, by namespace; None if others issue them.
    units: returns the condition of a pool about the units of its nodes; None if they are to have none.
    in_use: returns the condition of a pool about its deletion; None unless it waits for services.
    authority: returns the CA of the model store's certificate in PEM; empty if the operator has none.
    planned: told of every plan of a pool.
    nodes: of the cluster.
    """

    clients: Clients
    settings: Settings
    clock: Clock
    executor: Submits
    servers: ServerFindings
    findings: Mapping[NamespaceKey, RuntimeFindings]
    scope: str | None = None
    certificates: Callable[[], Mapping[str, Sequence[str]] | None] = lambda: None
    units: Callable[[str], Finding | None] = lambda _pool: None
    in_use: Callable[[str], Finding | None] = lambda _pool: None
    authority: Callable[[], str] = lambda: ""
    planned: Callable[[str, PoolPlan], None] = lambda _pool, _plan: None
    nodes: KnownNodes = field(default_factory=KnownNodes)

    @property
    def loader(self) -> TailLoader:
        """Loads and unloads tails."""
        return TailLoader(self.clients, self.settings.installation, self.scope)
