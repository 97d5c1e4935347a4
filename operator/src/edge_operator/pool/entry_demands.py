"""What a service brings to the plan of its pool: a demand for each of its entry nodes. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from edge_api import Placement
from edge_operator.keys import ServiceKey
from edge_operator.names import UNFIT_ANNOTATION
from edge_operator.pool import rates
from edge_operator.pool.entry_problems import ServiceProblems
from edge_operator.pool.margins import ClassRatios
from edge_operator.pool.pooled import LinkKey, PooledService
from edge_operator.pool.server_links import Link
from edge_operator.pool_nodes import PoolMember
from edge_planning import EntryProblem
from edge_planning.pools import Observed, PoolDemand


@dataclass(frozen=True, slots=True)
class Entry:
    """A demand before it is planned.

    Attributes:
        problems: By name of the Triton server.
        current, left: Triton servers that it uses and that it left because it was lost.
        offered: Those that it can use.
        preferred: Of equally good ones, this one.
    """

    service: PooledService
    member: PoolMember
    problems: Mapping[str, EntryProblem]
    current: str | None
    left: str | None
    offered: tuple[str, ...]
    preferred: str | None
    rate: rates.Rate

    @property
    def linked(self) -> str | None:
        """The Triton server of the link that is measured while no tail is used."""
        return self.preferred or next(iter(self.offered), None)

    @property
    def placement(self) -> Placement | None:
        """The published one."""
        return self.service.placements.get(self.member.node.name)

    @property
    def placed(self) -> bool:
        """Whether it has a table, and the last plan had room for it."""
        return self.placement is not None and UNFIT_ANNOTATION not in self.placement.metadata.annotations

    @property
    def observed(self) -> Observed | None:
        """Its requests as measured, if that counts."""
        return self.service.observed.get(self.member.node.name) if self.rate.assumed else None

    def problem_to(self, server: str | None) -> EntryProblem:
        """Returns the problem with a server, or the one without any."""
        return self.problems.get(server or "", next(iter(self.problems.values())))


@dataclass(frozen=True, slots=True)
class Added:
    """The demands of a service, which stay while the service and what the pool's services share stay.

    Attributes:
        entries: At its entry nodes, each with its demand.
        held: At entry nodes without a table, while the tenant is held.
        links, ratios: That were read for it.
    """

    service: PooledService
    problems: ServiceProblems
    entries: tuple[tuple[Entry, PoolDemand], ...]
    held: tuple[Entry, ...]
    links: Mapping[tuple[ServiceKey, LinkKey], Link]
    ratios: Mapping[tuple[ServiceKey, str], ClassRatios]


def slices_of(problems: ServiceProblems) -> str:
    """Returns what is equal for services that have the same slices: the model with the same cuts and bytes.

    An earlier version recorded no bytes, so two services can know different ones of a model.
    """
    slices = repr(sorted(problems.model.memory.items()))
    return f"{problems.digest}/{hashlib.sha256(slices.encode()).hexdigest()[:8]}"
