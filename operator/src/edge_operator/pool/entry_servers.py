"""Chooses the Triton servers of a service's entry nodes in one plan."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from edge_api import Placement
from edge_api.devicepools import DevicePoolSpec, TritonServer
from edge_operator import server_links
from edge_operator.cluster import Object
from edge_operator.pool.drafts import Draft
from edge_operator.server_choice import Choice, Rated, choose, lost_servers
from edge_operator.server_links import Link, peer_of_body


@dataclass(frozen=True, slots=True)
class Chosen:
    """A server, the link to it, and the annotations of the Placement that uses it."""

    server: TritonServer
    link: Link
    notes: dict[str, str]


class EntryServers:
    """The servers of a pool, as far as the operator knows them. Counts the Placements on each."""

    def __init__(self, draft: Draft, pool: DevicePoolSpec) -> None:
        self._draft, self._pool = draft, pool
        bodies = draft.state.placements
        self.placed = Counter(draft.shared.placed)
        self._at: dict[str, dict[str, Object]] = {}
        for body in sorted(bodies, key=lambda each: ("status" not in each, each["metadata"]["name"])):
            here = self._at.setdefault(body["spec"]["node"], {})
            here.setdefault(peer_of_body(body), body)
        self._choices: list[tuple[str, Choice]] = []
        self._now, self._known = draft.now.monotonic, draft.state.availability
        self._away = {s.name for s in pool.triton_servers if self._known.away(s.url, self._now)}

    def choose(
        self,
        node: str,
        servers: Sequence[TritonServer],
        value: Callable[[TritonServer, Link, float | None], float],
    ) -> Chosen:
        """Returns the server for an entry node. servers: with a profile, at least one.

        value: of the plan with a server behind a link; at a bandwidth in bit/s, or None for all of them.
        """
        published = self._draft.known.get(node)
        current, left = server_links.peer_of(published), server_links.history(published).left
        links = {s.name: server_links.link_to(s.name, published, self._others(node)) for s in servers}
        measured = all(link.bandwidth is not None for link in links.values())
        rated = [
            self._rated(s, value(s, links[s.name], links[s.name].bandwidth if measured else None))
            for s in servers
        ]
        listed = [server.name for server in self._pool.triton_servers]
        key = f"{self._draft.key.namespace}/{self._draft.key.name} {node}"
        sending = server_links.sends(published)
        choice = choose(key, rated, current, left if left in listed else None, sending=sending)
        self._choices.append((node, choice))
        self.placed[choice.name] += 1
        self.placed[current or ""] -= 1
        chosen = next(server for server in servers if server.name == choice.name)
        notes = server_links.annotations(choice.name, choice.left, published, listed)
        return Chosen(chosen, links[chosen.name], notes)

    @property
    def replaceable(self) -> frozenset[str]:
        """The addresses of chosen servers in whose place another one can be used."""
        names = {choice.name for _, choice in self._choices if choice.replaceable}
        return frozenset(server.url for server in self._pool.triton_servers if server.name in names)

    def lost(self, sending: Collection[str]) -> str:
        """Returns which servers are lost and what is used instead. sending: nodes with routes to a server."""
        choices = [(node, choice) for node, choice in self._choices if node in sending]
        return lost_servers(choices, self._away)

    def _rated(self, server: TritonServer, value: float) -> Rated:
        return Rated(
            server.name,
            value,
            placed=self.placed[server.name],
            away=server.name in self._away,
            steady=self._known.steady(server.url, self._now),
            full=server.url in self._draft.full,
        )

    def _others(self, node: str) -> list[Placement]:
        """Returns a Placement of the node for each server, as far as they can be read."""
        found = []
        for body in self._at.get(node, {}).values():
            try:
                found.append(Placement.model_validate(body))
            except ValidationError:
                continue
        return found
