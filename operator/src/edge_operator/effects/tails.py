"""Loads and unloads tails on one Triton server.

A tail that is there already is used only if its configuration shows that it has the slice's content. What
does not fit into the memory that the pool declares for a server is not loaded. Called for one service after
another on each server.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edge_operator.clients import Clients
from edge_operator.cluster import PLACEMENTS
from edge_operator.errors import StoreError, TailRefusedError, TritonError
from edge_operator.keys import TailKey
from edge_operator.pool.actions import LoadTails, UnloadTails
from edge_operator.pool.states import LoadOutcome, UnloadOutcome
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.admission import Admission, admission, footprint, full
from edge_operator.tritons.residency import in_use, needed, placed_sizes
from edge_operator.tritons.tail_models import Backend, Tail, is_content, is_ours, marked_size, may_be_ours

SeenAt = Callable[[str], frozenset[str]]
"""Returns the tails that were seen to have their content at the address of a server."""


def _nothing_seen(_address: str) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of loading tails. there: those with their content. count: how many were loaded."""

    outcome: LoadOutcome
    there: frozenset[str] = frozenset()
    count: int = 0


@dataclass(frozen=True, slots=True)
class TailLoader:
    """Loads and unloads. owner: the installation. scope: the watched namespace; None: all."""

    clients: Clients
    owner: str
    scope: str | None

    def load(self, wanted: LoadTails, seen_at: SeenAt = _nothing_seen) -> Loaded:
        """Loads the tails that the server lacks and that fit.

        seen_at: returns the tails of a server that were seen to be there, also since this was decided. If
        these are all, and no memory is declared for which others are unloaded, no request is sent.
        One whose file the model store refuses is left out; after one that meets another error, no further one
        is tried.
        """
        names = frozenset(tail.name for tail in wanted.tails)
        there, refused, message, count = set[str](), frozenset[str](), "", 0
        unread = dict[str, StoreError]()
        store = self.clients.store.of(wanted.service.namespace)
        try:
            if wanted.memory is None and names <= seen_at(wanted.address):
                return Loaded(LoadOutcome(names), names)
            missing, refused, message = self._admit(wanted)
            there = set(names - refused - {tail.name for tail in missing})
            if refused and wanted.replaceable:
                missing = []
            for tail in missing:
                try:
                    self.clients.triton.load(tail, functools.partial(store.blob, tail.digest))
                except StoreError as error:
                    unread[tail.name] = error
                    if error.transient:
                        raise
                    continue
                there.add(tail.name)
                count += 1
        except (StoreError, TritonError) as error:
            return Loaded(LoadOutcome(names, refused, message, error, unread), frozenset(there), count)
        failed = next(iter(unread.values()), None)
        return Loaded(LoadOutcome(names, refused, message, failed, unread), frozenset(there), count)

    def release(self, tails: Iterable[TailKey]) -> None:
        """Ends the admission of tails that published tables name."""
        for address, name in tails:
            self.clients.admitted.release(server_of(address), [name])

    def unload(self, wanted: UnloadTails) -> UnloadOutcome:
        """Unloads the tails that no Placement uses and that bear the installation's mark."""
        address, server = wanted.address, server_of(wanted.address)
        tails = frozenset(wanted.tails)
        bodies = self.clients.cluster.find(PLACEMENTS, self.scope)
        used = {tail.name for tail in in_use(bodies) if server_of(tail.address) == server}
        try:
            for tail in wanted.tails:
                if tail.name in used:
                    continue
                if is_ours(tail.name, self.clients.triton.parameters(address, tail.name), self.owner):
                    self.clients.triton.unload(address, tail.name)
        except TritonError as error:
            return UnloadOutcome(tails, str(error))
        return UnloadOutcome(tails)

    def _admit(self, wanted: LoadTails) -> tuple[list[Tail], frozenset[str], str]:
        """Returns the tails to load, the names of those that do not fit, and the reason.

        Unloads unused models whose room is needed.
        """
        address, server = wanted.address, server_of(wanted.address)
        tails = {tail.name: tail for tail in wanted.tails}
        with self.clients.admitted.turn(server):
            present = self.clients.triton.ready(address)
            missing = [t for name, t in tails.items() if name not in present or not self._is_there(t)]
            footprints = {name: footprint(tail.size, tail.backend) for name, tail in tails.items()}
            unfit, message = frozenset[str](), ""
            if wanted.memory is not None and missing:
                backend = wanted.tails[0].backend
                used = self._used(address, present, backend)
                unused = self._unused(address, present - set(used), backend)
                found = admission(wanted.memory, footprints, used, unused)
                self._make_room(address, found)
                if found.refused:
                    unfit = frozenset(found.refused)
                    message = full(wanted.field, wanted.server, wanted.memory, found, footprints, used)
            if not (unfit and wanted.replaceable):
                held = {name: size for name, size in footprints.items() if name not in unfit}
                self.clients.admitted.hold(server, held)
        return [tail for tail in missing if tail.name not in unfit], unfit, message

    def _is_there(self, tail: Tail) -> bool:
        """Whether the loaded model of this name is the tail. Raises TailRefusedError if it is not ours."""
        parameters = self.clients.triton.parameters(tail.address, tail.name)
        if not parameters and tail.name not in self.clients.triton.ready(tail.address):
            return False  # unloaded since it was listed
        if not is_ours(tail.name, parameters, tail.owner):
            raise TailRefusedError(
                f"{tail.name} at {tail.address} has the name of a tail, but not the mark of this "
                "installation: unload this model there"
            )
        return is_content(parameters, tail)

    def _used(self, address: str, present: frozenset[str], backend: Backend) -> dict[str, int]:
        """Returns the footprints of the tails that tables use, or that other services are about to use."""
        server = server_of(address)
        bodies = self.clients.cluster.find(PLACEMENTS, self.scope)
        known = {name: size for (at, name), size in placed_sizes(bodies).items() if at == server}
        found = self.clients.admitted.held(server)
        for key in needed(bodies):
            if server_of(key.address) != server:
                continue
            if key.name not in known and key.name in present:
                known[key.name] = marked_size(self.clients.triton.parameters(address, key.name))
            if key.name in known:
                found[key.name] = footprint(known[key.name], backend)
        return found

    def _unused(self, address: str, names: frozenset[str], backend: Backend) -> dict[str, int]:
        """Returns the footprints of the installation's loaded models among `names`."""
        candidates = {name for name in names if may_be_ours(name, self.owner)}
        parameters: Mapping[str, Mapping[str, str]] = {
            name: self.clients.triton.parameters(address, name) for name in candidates
        }
        return {
            name: footprint(marked_size(marks), backend)
            for name, marks in parameters.items()
            if is_ours(name, marks, self.owner)
        }

    def _make_room(self, address: str, found: Admission) -> None:
        for name in found.unloaded:
            self.clients.triton.unload(address, name)
