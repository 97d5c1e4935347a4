"""Looks at one Triton server: lists its models, unloads those that no table uses, checks its model control.

Cost: one request, which lists the models, and one for each tail that is unloaded or turns out to be foreign.
Before tails are unloaded, Placements are listed once at the API server: after a start, the watches have not
reported all of them. A look at a server whose tails are all in use reads nothing there. From that list to the
last unload, the look has the server's turn: no service finds a tail there that is about to go.
"""

import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from edge_operator import metrics, terms
from edge_operator.clients import Clients
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS
from edge_operator.errors import ClusterError, TritonBusyError, TritonError, TritonUnreachableError
from edge_operator.terms import Term
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.control_checks import Endpoints
from edge_operator.tritons.residency import needed
from edge_operator.tritons.tail_models import former_service, is_ours, marked_term
from edge_operator.tritons.unused_tails import UnusedTails


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found.

    Attributes:
        models: That are loaded after the look; None if the server does not respond.
        unused: Of the server's models, for the next look.
        busy: Whether the server has not finished an earlier request: nothing is known of it.
        rest: Seconds for which its circuit breaker lets no request through.
        control_open: Whether it accepts model control without a key, by the address of each endpoint that
            was checked.
    """

    models: frozenset[str] | None
    unused: UnusedTails
    busy: bool = False
    rest: float = 0.0
    control_open: Endpoints = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerLooks:
    """Looks at servers; blocking.

    clients: with the API server. scope: the watched namespace; None: all. term: in which this replica leads.
    """

    clients: Clients
    owner: str
    scope: str | None
    term: Callable[[], Term | None] = lambda: None

    def look(
        self,
        address: str,
        before: UnusedTails,
        used: frozenset[str],
        now: float,
        *,
        control: Collection[str] = (),
    ) -> Look:
        """Returns what a server has, after tails whose grace period is over are unloaded.

        before: from the last look. used: the tails there that are known to be in use. now: in seconds.
        control: addresses of its endpoints at which model control is checked.
        """
        try:
            ready = self.clients.triton.ready(address)
        except TritonBusyError:
            return Look(None, before, busy=True)
        except TritonUnreachableError as error:
            return Look(None, before, rest=error.rest)
        except TritonError:
            return Look(None, before)
        known = used | self.clients.admitted.held(server_of(address)).keys()
        unused = before.seen(ready, known, self.owner, now)
        gone: frozenset[str] = frozenset()
        if unused.due(now):
            try:
                with self.clients.admitted.turn(server_of(address)):
                    unused, gone = self._unloaded(address, unused, now)
            except (ClusterError, TritonBusyError) as error:  # tried again at the next look
                logging.getLogger(__name__).warning("unused tails of %s stay loaded: %s", address, error)
        return Look(ready - gone, unused, control_open=self._control_open(control))

    def _unloaded(self, address: str, unused: UnusedTails, now: float) -> tuple[UnusedTails, frozenset[str]]:
        """Unloads the tails that are due. Returns those that are left, and the names of the unloaded ones."""
        server, gone = server_of(address), set[str]()
        placements = self.clients.cluster.find(PLACEMENTS, self.scope)
        unused = unused.without({key.name for key in needed(placements) if server_of(key.address) == server})
        unused = unused.without(self.clients.admitted.held(server).keys())
        for name in unused.due(now):
            try:
                marks = self.clients.triton.parameters(address, name)
                if not self._is_ours(name, marks):
                    unused = unused.with_foreign(name)
                    continue
                self.clients.triton.unload(address, name)
                gone.add(name)
                if name in unused.appeared:
                    self._note_late(address, name, marks)
            except TritonUnreachableError:
                break  # tried again at the next look
            except TritonError:
                continue  # likewise
            unused = unused.without({name})
        return unused, frozenset(gone)

    def _note_late(self, address: str, name: str, marks: Mapping[str, str]) -> None:
        """Tells of a tail that a former leader loaded late: it was stopped, or Triton was slow."""
        loaded_in, own = terms.read(marked_term(marks)), self.term()
        if loaded_in is not None and own is not None and loaded_in.is_before(own):
            metrics.LATE_TAILS.inc()
            logging.getLogger(__name__).warning(
                "%s at %s was unloaded: a replica that led in term %d loaded it in term %d",
                *(name, address, loaded_in.number, own.number),
            )

    def _is_ours(self, name: str, marks: Mapping[str, str]) -> bool:
        """Whether a model is ours; a previous version's tail must name a service of this cluster."""
        if not is_ours(name, marks, self.owner):
            return False
        former = former_service(name, self.owner)
        if former is None:
            return True
        bodies = self.clients.cluster.find(INFERENCE_SERVICES, self.scope)
        return former in {f"{body['metadata']['namespace']}-{body['metadata']['name']}" for body in bodies}

    def _control_open(self, addresses: Collection[str]) -> Endpoints:
        found = {}
        for address in sorted(addresses):
            with contextlib.suppress(TritonError):
                found[address] = self.clients.triton.control_open(address)
        return found
