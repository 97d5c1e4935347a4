"""What the loops of the Triton servers found: what is loaded, which respond, which accept model control."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TypeVar

from edge_operator.effects.server_looks import Look
from edge_operator.pool.server_availability import Availability
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.control_checks import Endpoints

Value = TypeVar("Value")


class ServerFindings:
    """What is known of the servers, by address. On the event loop only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.loaded: Mapping[str, frozenset[str]] = MappingProxyType({})
        """Tails that were seen to have their content."""
        self.availability = Availability()
        self.emptied: frozenset[str] = frozenset()
        """Servers that no pool lists any more and that have no tails of the installation."""
        self.control_open: Mapping[str, Endpoints] = MappingProxyType({})
        """Whether servers accept model control without a key, as far as they were checked."""

    def seen_at(self, address: str) -> frozenset[str]:
        """Returns the tails of a server that were seen to have their content. From any thread."""
        return self.loaded.get(address, frozenset())

    def loaded_at(self, address: str, names: Collection[str]) -> None:
        """Notes tails that have their content."""
        if names:
            now = self.loaded.get(address, frozenset()) | frozenset(names)
            self.loaded = MappingProxyType({**self.loaded, address: now})

    def leaving(self, address: str, names: Collection[str]) -> None:
        """Notes tails that may be unloaded now: a table that is to use one has it loaded first."""
        if names:
            self.loaded = MappingProxyType(
                {
                    known: tails - frozenset(names) if server_of(known) == server_of(address) else tails
                    for known, tails in self.loaded.items()
                }
            )

    def responded(self, address: str, models: frozenset[str] | None) -> frozenset[str]:
        """Notes the models of a server, None if it does not respond.

        Returns the addresses whose services this concerns: of a server that lost tails, stopped responding,
        or responds again.
        """
        before, changed, loaded = self.availability.since.get(address), set[str](), dict(self.loaded)
        self.availability = self.availability.noted({address: models}, self._clock())
        if before is not None and before[0] is not (models is not None):
            changed.add(address)
        for known in [each for each in loaded if server_of(each) == server_of(address)]:
            left = loaded[known] & (models or frozenset())
            if left != loaded[known]:
                loaded[known] = left
                changed.add(known)
        self.loaded = MappingProxyType(loaded)
        return frozenset(changed)

    def checked(self, address: str, look: Look, *, emptied: bool) -> bool:
        """Notes what the status of a pool says of a server. Returns whether that changed.

        emptied: whether no pool lists it, and it has no tails of the installation.
        """
        before = (address in self.emptied, self.control_open.get(address))
        self.emptied = self.emptied | {address} if emptied else self.emptied - {address}
        if address in look.control_open:
            self.control_open = MappingProxyType({**self.control_open, address: look.control_open})
        return before != (emptied, self.control_open.get(address))

    def forget(self, address: str) -> None:
        """Forgets a server that is looked at no more."""
        self.loaded = _without(self.loaded, address)
        self.control_open = _without(self.control_open, address)
        self.availability = Availability(_without(self.availability.since, address))
        self.emptied -= {address}


def _without(found: Mapping[str, Value], address: str) -> Mapping[str, Value]:
    return MappingProxyType({key: value for key, value in found.items() if key != address})
