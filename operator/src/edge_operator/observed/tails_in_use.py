"""The tails that published tables use, by Triton server, as the watch of Placements reports them."""

from collections import Counter, defaultdict

from edge_operator.keys import TailKey
from edge_operator.tritons.addresses import server_of


class TailsInUse:
    """Counts the Placements that use each tail. Used on the event loop only.

    Cost: an event takes time proportional to the tails of its Placement, `at` to the tails of the server.
    """

    def __init__(self) -> None:
        self._of: dict[str, frozenset[TailKey]] = {}
        """By the uid of the Placement."""
        self._users: dict[str, Counter[str]] = defaultdict(Counter)
        """Numbers of Placements by the name of the tail, by server."""

    def note(self, uid: str, tails: frozenset[TailKey]) -> None:
        """Notes the tails of a Placement; none if it is gone."""
        before = self._of.pop(uid, frozenset())
        if tails:
            self._of[uid] = tails
        for address, name in tails - before:
            self._users[server_of(address)][name] += 1
        for address, name in before - tails:
            users = self._users[server_of(address)]
            users[name] -= 1
            if not users[name]:
                del users[name]
            if not users:
                del self._users[server_of(address)]

    def at(self, server: str) -> frozenset[str]:
        """Returns the names of the tails in use on a server, the host and port of its address."""
        return frozenset(self._users.get(server, ()))
