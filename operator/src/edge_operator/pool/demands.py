"""Plans the services of a pool together: from their manifests and Placements to a table for each entry node.

Pure; the sharing itself is `edge_planning.pools`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from edge_operator.keys import ServiceKey
from edge_operator.names import DEMAND_ANNOTATION, FACTOR_ANNOTATION, UNFIT_ANNOTATION
from edge_operator.pool import rates, server_links
from edge_operator.pool.cpu_weights import Weighed, weighed
from edge_operator.pool.entry_demands import Added, Entry, slices_of
from edge_operator.pool.entry_problems import ServiceProblems, link_to_node, problems_of
from edge_operator.pool.margins import ClassRatios
from edge_operator.pool.pooled import EntryKey, LinkKey, PlannedEntry, Pool, PooledService, ServerState
from edge_operator.pool.published_tables import Adopted, published_routes
from edge_operator.pool.server_choice import Choice
from edge_operator.pool.server_links import Link
from edge_operator.pool.shortages import Demands, crowding, held_back, lack, refusal
from edge_operator.pool_nodes import PoolMember, intermediate_nodes, number_of
from edge_planning import Plan, PlanningError, plan_entry
from edge_planning.errors import BadPlacesError
from edge_planning.objectives import ACCURACY
from edge_planning.pools import (
    Isolation,
    Observed,
    PoolDemand,
    PoolNode,
    PoolPlan,
    PoolProblem,
    PoolServer,
    plan_pool,
)
from edge_planning.pools.tables import problem_at
from edge_planning.problems import Tables

UNMEASURED_UPLINK = 1e9
"""Bit/s that an uplink is planned with before it is measured."""
_STEADY = 0.1
"""Part of a bandwidth by which a measurement must differ from the planned one to replace it."""
_SLOWEST = Tables().low


@dataclass(frozen=True, slots=True)
class PooledPlan:
    """The plan of a pool, and what the next one starts from.

    Attributes:
        entries: Of every service that can be planned, at its entry nodes, then at intermediate nodes that are
            none of its entry nodes.
        failed: Why a service cannot be planned: its metadata, its measurements, or what the pool lacks.
        weighed: The entries, and at how many nodes they divide the processors by new counts.
        basis: What the demands of all services depend on.
        added: The demands of each service that can be planned.
        unweighed: The entries before they were weighed.
        telling: Demands whose Placements tell of their measured requests.
    """

    entries: Mapping[EntryKey, PlannedEntry]
    failed: Mapping[ServiceKey, PlanningError]
    plan: PoolPlan
    problems: Mapping[ServiceKey, ServiceProblems] = field(repr=False, compare=False)
    links: Mapping[tuple[ServiceKey, LinkKey], Link] = field(repr=False)
    adopted: Mapping[str, Adopted] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    weighed: Weighed = field(default_factory=lambda: Weighed({}), repr=False, compare=False)
    basis: tuple[object, ...] = field(default=(), repr=False, compare=False)
    added: Mapping[ServiceKey, Added] = field(default_factory=dict, repr=False, compare=False)
    unweighed: Mapping[EntryKey, PlannedEntry] = field(default_factory=dict, repr=False, compare=False)
    telling: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    def of(self, service: ServiceKey) -> list[PlannedEntry]:
        """Returns the entries of a service."""
        return [entry for key, entry in self.entries.items() if (key.namespace, key.service) == service]


NO_PLAN = PooledPlan({}, {}, PoolPlan(PoolProblem((), (), ()), {}, {}, {}), {}, {})


def plan_services(
    pool: Pool, previous: PooledPlan = NO_PLAN, moves: int | None = None, nodes: int | None = None
) -> PooledPlan:
    """Returns what every service of a pool gets at each of its entry nodes.

    If nothing binds, that is what plan_entry gives. previous: the last plan; what has not changed since is
    not planned again. moves: as of plan_pool. nodes: as of weighed.
    """
    planner = _Planner(pool, previous, moves, nodes)
    for service in pool.services:
        planner.add(service)
    return planner.result()


def runtime_memory(resources: Mapping[str, Mapping[str, object]]) -> float:
    """Returns the bytes that a runtime requests, by the resources of its container; its limit without any."""
    for part in ("requests", "limits"):
        found = number_of((resources.get(part) or {}).get("memory"))
        if found is not None:
            return found
    return 0.0


class _Planner:
    def __init__(self, pool: Pool, previous: PooledPlan, moves: int | None, nodes: int | None) -> None:
        self.pool, self.previous, self.moves, self.nodes = pool, previous, moves, nodes
        self.servers = {server.name: server for server in pool.spec.triton_servers}
        self.members = {member.node.name: member for member in pool.members}
        self.runnable = [member for member in pool.members if member.node.name not in self.servers]
        self.near: dict[str, tuple[PoolMember, ...]] = {}
        self.problems: dict[ServiceKey, ServiceProblems] = {}
        self.failed: dict[ServiceKey, PlanningError] = {}
        self.links: dict[tuple[ServiceKey, LinkKey], Link] = {}
        self.ratios: dict[tuple[ServiceKey, str], ClassRatios] = {}
        self.entries: dict[str, Entry] = {}
        self.demands: list[PoolDemand] = []
        self.held: dict[EntryKey, PlannedEntry] = {}
        self.adopted: Mapping[str, Adopted] = {}
        self.telling: frozenset[str] = frozenset()
        self.last = {demand.name: demand for demand in previous.plan.problem.demands}
        self.basis = (pool.spec, pool.members, dict(pool.servers), pool.tenancy, pool.runtime_memory)
        self.kept = previous.added if self.basis == previous.basis else {}
        self.added: dict[ServiceKey, Added] = {}

    def add(self, service: PooledService) -> None:
        """Adds the demands of a service, those before if it is the same; or why it has none."""
        known = self.kept.get(service.key)
        if known is None or known.service is not service:
            known = self._added(service)
        if known is None:
            return
        self.added[service.key] = known
        self.problems[service.key] = known.problems
        self.links |= known.links
        self.ratios |= known.ratios
        for entry, demand in known.entries:
            self.entries[demand.name] = entry
            self.demands.append(demand)
        for entry in known.held:
            self.held[self._key(entry)] = self._held(entry)

    def _added(self, service: PooledService) -> Added | None:
        self.links, self.ratios, links, ratios = {}, {}, self.links, self.ratios
        try:
            found = self._demanded(service)
            return None if found is None else replace(found, links=self.links, ratios=self.ratios)
        finally:
            links.update(self.links)
            ratios.update(self.ratios)
            self.links, self.ratios = links, ratios

    def _demanded(self, service: PooledService) -> Added | None:
        found = problems_of(service, self.pool.spec, self.previous.problems.get(service.key))
        if isinstance(found, PlanningError):
            self.failed[service.key] = found
            return None
        try:
            entries = [self._entry(service, found, member) for member in service.entries]
        except PlanningError as error:
            self.failed[service.key] = error
            return None
        self.problems[service.key] = found
        digest = slices_of(found)
        held = []
        if self.pool.tenancy.stop(service.key.namespace) == "Hold":
            held = [entry for entry in entries if entry.placement is None]
            entries = [entry for entry in entries if entry.placement is not None]
        demands = tuple((entry, self._demand(entry, digest)) for entry in entries)
        return Added(service, found, demands, tuple(held), {}, {})

    def result(self) -> PooledPlan:
        problem = self._problem()
        before = self.previous.plan if self.last else self._published(problem)
        plan = plan_pool(problem, before, moves=self.moves)
        self.telling = crowding(plan)
        self.adopted = self._adopted(plan)
        demands = {one.name: one for one in self.demands}
        entries: dict[EntryKey, PlannedEntry] = dict(self.held)
        for name, entry in self.entries.items():
            key = self._key(entry)
            entries[key] = self._as_before(entry, plan, name) or self._planned(entry, plan, name, demands)
        unweighed = dict(entries)
        for entry in self.entries.values():
            planned = entries[self._key(entry)].plan
            routes = planned.table.routes if isinstance(planned, Plan) else ()
            for node in sorted({route.intermediate for route in routes if route.intermediate is not None}):
                key = self._key(entry)._replace(node=node)
                if key not in entries and node in self.members:
                    entries[key] = self._between(entry.service, self.members[node])
        made = weighed(entries, self.pool, plan, self.adopted.keys(), self.nodes)
        return PooledPlan(
            made.entries,
            self.failed,
            plan,
            self.problems,
            self.links,
            self.adopted,
            made,
            self.basis,
            self.added,
            unweighed,
            self.telling,
        )

    def _published(self, problem: PoolProblem) -> PoolPlan | None:
        """Returns a plan of the entry nodes that have a table.

        An operator that restarts then refuses the same ones as before, where all cannot fit.
        """
        placed = tuple(one for one in self.demands if self.entries[one.name].placed)
        if not placed or len(placed) == len(self.demands):
            return None
        return plan_pool(replace(problem, demands=placed))

    def _entry(self, service: PooledService, found: ServiceProblems, member: PoolMember) -> Entry:
        node = member.node.name
        placement = service.placements.get(node)
        if node in self.servers:
            raise BadPlacesError(f"node {node}: a Triton server has the same name")
        current, left = server_links.peer_of(placement), server_links.history(placement).left
        usable = [one for one in self.servers.values() if one.device_class in service.profiles]
        names = [one.name for one in usable] or list(self.servers)
        offered = self._offered(names, service.full, current if server_links.sends(placement) else None)
        back = left is not None and left in offered and self._state(left).steady
        preferred = left if back else current if current in offered else None
        ratios = self._ratios(service, found, member).of(node)
        near = [
            (each, link_to_node(service, self.pool.spec, LinkKey(node, each.node.name)))
            for each in self._intermediates(member)
        ]
        problems = {
            one.name: found.problem(
                member, one, self._link(service, LinkKey(node, one.name)), near, ratios, service
            )
            for one in sorted(usable, key=lambda each: each.name)
            if one.name in offered
        }
        if not problems:
            link = self._link(service, LinkKey(node, preferred or next(iter(offered), "")))
            alone = found.problem(member, None, link, near, ratios, service)
            problems = {alone.peer: alone}
        rate = rates.planned_rate(service.spec.planned_rate)
        return Entry(service, member, problems, current, left, offered, preferred, rate)

    def _offered(self, names: list[str], full: frozenset[str], used: str | None) -> tuple[str, ...]:
        """Returns the servers that can be used: those that respond and have room, as far as there are any.

        used: the one that published routes lead to, which are not moved to a server that may fail again.
        """
        responding = [name for name in names if not self._state(name).away]
        usable = [name for name in responding if name not in full] or responding or names
        if used is None:
            return tuple(usable)
        steady = [name for name in usable if self._state(name).steady or name == used]
        return tuple(steady or usable)

    def _state(self, server: str) -> ServerState:
        return self.pool.servers.get(server, ServerState())

    def _intermediates(self, member: PoolMember) -> tuple[PoolMember, ...]:
        name = member.node.name
        if name not in self.near:
            self.near[name] = intermediate_nodes(member, self.runnable)
        return self.near[name]

    def _ratios(self, service: PooledService, found: ServiceProblems, member: PoolMember) -> ClassRatios:
        key = (service.key, member.device_class)
        if key not in self.ratios:
            self.ratios[key] = found.ratios(service, self.pool.members, member)
        return self.ratios[key]

    def _link(self, service: PooledService, key: LinkKey) -> Link:
        """Returns the link to plan with: a bandwidth stays until a measurement clearly differs from it."""
        found = service.links.get(key) or server_links.published_link(None)
        before = self.previous.links.get((service.key, key))
        link = replace(found, bandwidth=_steady(before, found.bandwidth))
        self.links[service.key, key] = link
        return link

    def _demand(self, entry: Entry, digest: str) -> PoolDemand:
        """Returns the demand, which is the previous one if it is equal: comparing it again costs nothing."""
        service = entry.service
        demand = PoolDemand(
            service.key.name,
            service.key.namespace,
            digest,
            self.problems[service.key].packings(entry.problems.values()),
            entry.rate.value,
            priority=service.spec.priority,
            isolation=Isolation(service.isolation),
            server=entry.preferred,
            assumed=entry.rate.assumed,
            observed=entry.observed,
            belongs_to=self.pool.tenancy.of(service.key.namespace) if self.pool.tenancy else "",
        )
        before = self.last.get(demand.name)
        return before if before == demand else demand

    def _problem(self) -> PoolProblem:
        uplinks: dict[str, float] = {}
        for (_, key), link in self.links.items():
            if link.bandwidth is not None:
                uplinks[key.node] = max(uplinks.get(key.node, 0.0), link.bandwidth)
        return PoolProblem(
            nodes=tuple(
                PoolNode(
                    name,
                    member.device_class,
                    cpu=member.node.cpu,
                    memory=member.memory,
                    uplink=uplinks.get(name, UNMEASURED_UPLINK),
                    cores=member.node.cores,
                )
                for name, member in self.members.items()
                if name not in self.servers
            ),
            servers=tuple(
                PoolServer(name) if one.memory is None else PoolServer(name, float(one.memory))
                for name, one in self.servers.items()
            ),
            demands=tuple(self.demands),
            runtime_memory=self.pool.runtime_memory,
            tenants=self.pool.tenants,
            entitled=bool(self.pool.tenancy),
        )

    def _held(self, entry: Entry) -> PlannedEntry:
        """Returns what an entry node without a table gets while the tenant is held."""
        problem = entry.problem_to(entry.linked)
        shortage = held_back(self.pool.tenancy.of(entry.service.key.namespace))
        return PlannedEntry(entry.member, problem, None, None, shortage=shortage, held=True)

    def _as_before(self, entry: Entry, plan: PoolPlan, name: str) -> PlannedEntry | None:
        """Returns what an entry node got by the last plan, if it has the same demand and the same table."""
        previous, key = self.previous, entry.service.key
        placed = plan.placed.get(name)
        same = self.added[key] is previous.added.get(key) and placed is previous.plan.placed.get(name)
        if not same or placed is None or placed.short is not None:
            return None
        told = name in self.telling or name in previous.telling
        if told or self.adopted.get(name) != previous.adopted.get(name):
            return None
        return previous.unweighed.get(self._key(entry))

    def _planned(self, entry: Entry, plan: PoolPlan, name: str, demands: Demands) -> PlannedEntry:
        placed, adopted = plan.placed.get(name), self.adopted.get(name)
        server = (placed.server if placed is not None else None) or entry.linked
        if adopted is not None:
            server = adopted.server
        notes = self._notes(entry, server, entry.observed if name in self.telling else None)
        table = None if placed is None else placed.plan.table
        if table is not None and adopted is not None:
            table = replace(table, routes=adopted.routes)
        made = PlannedEntry(
            entry.member,
            problem_at(demands[name], server, table),
            None,
            self.servers.get(server or ""),
            notes,
            choice=self._choice(entry, server),
        )
        if placed is None:
            refused = plan.refused[name]
            if refused.infeasible is not None:
                return replace(made, plan=refused.infeasible)
            notes = {**notes, UNFIT_ANNOTATION: "true"}
            return replace(made, notes=notes, shortage=refusal(refused, name, demands))
        short = "" if placed.short is None else lack(placed.short, name, demands)
        made = replace(made, plan=placed.plan, in_time=placed.in_time, shortage=short)
        if adopted is None:
            return made
        published = replace(placed.plan.table, routes=adopted.routes)
        return replace(made, plan=replace(placed.plan, table=published), adopted=True)

    def _adopted(self, plan: PoolPlan) -> Mapping[str, Adopted]:
        """Returns the published tables that stand, if nothing has changed since they were planned.

        Tables depend on the order in which changes came, and an operator that restarts knows only the last
        state: others would be as good, but a restart must not write. Services that can be planned only a
        little later are adopted too, as long as all before them are.
        """
        still = {
            name: each
            for name, each in self.previous.adopted.items()
            if name in plan.placed and each.stands(plan.placed[name]) and self._as_planned(self.entries[name])
        }
        if len(still) < len(self.previous.plan.placed):
            return still
        new: dict[str, Adopted] = {}
        for name, entry in self.entries.items():
            placed, placement = plan.placed.get(name), entry.placement
            if name in still or (placed is None and (placement is None or plan.refused[name].infeasible)):
                continue
            if placement is None or (placed is not None) != entry.placed or not self._as_planned(entry):
                return still
            if placed is not None:
                routes = published_routes(placement, entry.service.metadata)
                if routes is None:
                    return still
                new[name] = Adopted(routes, server_links.peer_of(placement), placed.plan.table, placed.server)
        return {**still, **new}

    def _as_planned(self, entry: Entry) -> bool:
        """Whether the published table was planned for the present demand, and its server is to be used."""
        placement, server = entry.placement, server_links.peer_of(entry.placement)
        if placement is None or server != entry.preferred:
            return False
        noted = placement.metadata.annotations.get(DEMAND_ANNOTATION)
        told = None if rates.published(placement) is None else entry.observed
        return noted == self._fingerprint(entry, server, told)

    def _fingerprint(self, entry: Entry, server: str | None, observed: Observed | None) -> str:
        """Returns what differs for another demand, without what a restarted operator cannot know.

        observed: As far as a Placement says it.
        """
        problem, node = entry.problem_to(server), entry.member.node
        parts = (
            self.problems[entry.service.key].fingerprint,
            entry.rate,
            entry.service.isolation,
            (node.cpu, entry.member.memory, self.pool.runtime_memory),
            (problem.rtt, sorted(problem.entry.margins.items())),
            [(one.name, one.bandwidth, one.rtt) for one in problem.intermediates],
            *(() if observed is None else (observed,)),
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def _notes(self, entry: Entry, server: str | None, observed: Observed | None) -> Mapping[str, str]:
        placement = entry.placement
        notes = {DEMAND_ANNOTATION: self._fingerprint(entry, server, observed)}
        found = self.ratios.get((entry.service.key, entry.member.device_class))
        factor = found.factors.get(entry.member.node.name) if found is not None else None
        if factor is not None:
            notes[FACTOR_ANNOTATION] = f"{factor:g}"
        if observed is not None:
            measured = entry.service.measured.get(entry.member.node.name)
            notes |= rates.annotations(observed, measured, placement)
        if server is not None:
            left = self._left(entry, server)
            notes |= server_links.annotations(server, left, placement, self.servers)
        return notes

    def _choice(self, entry: Entry, server: str | None) -> Choice | None:
        if server is None:
            return None
        able = [
            name
            for name, each in self.servers.items()
            if each.device_class in entry.service.profiles
            and not self._state(name).away
            and name not in entry.service.full
        ]
        return Choice(server, self._left(entry, server), replaceable=len(able) > 1)

    def _left(self, entry: Entry, server: str) -> str | None:
        """Returns the server that was lost, to which the entry node returns."""
        known = entry.left if entry.left in self.servers else None
        if entry.current in entry.offered:
            return known if server == entry.current and server != known else None
        lost = entry.current if entry.current in self.servers and self._state(entry.current).away else None
        first = known or lost
        return first if first != server else None

    def _between(self, service: PooledService, member: PoolMember) -> PlannedEntry:
        """Returns what an intermediate node gets that no requests of clients reach.

        Only other entry nodes send requests to it, so its own routes can be less accurate.
        """
        entry = self._entry(service, self.problems[service.key], member)
        problem = replace(entry.problem_to(entry.linked), min_accuracy=None, objective=ACCURACY)
        server = self.servers.get(entry.linked or "")
        notes = self._notes(entry, entry.linked, None)
        return PlannedEntry(
            member,
            problem,
            plan_entry(problem),
            server,
            notes,
            intermediate=True,
            choice=self._choice(entry, entry.linked),
        )

    def _key(self, entry: Entry) -> EntryKey:
        return EntryKey(*entry.service.key, entry.member.node.name)


def _steady(before: Link | None, measured: float | None) -> float | None:
    """Returns the bandwidth to plan with, at least the lowest that tables are made for."""
    if measured is None:
        return None
    planned = before.bandwidth if before is not None else None
    if planned is not None and abs(measured - planned) <= _STEADY * planned:
        return planned
    return max(measured, _SLOWEST)
