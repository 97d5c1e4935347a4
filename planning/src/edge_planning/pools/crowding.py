"""What measured requests take of places, and how long requests wait beside them.

A demand that declares no rate reserves a small default. Its requests as measured (values.Observed) share what
all reservations leave: each demand gets what it wants, or else as much as any other one (max-min fairness);
if tenants share by entitlement, each tenant what it is entitled to and its part of what is idle.
They are never held against their own service: alone in its pool it is planned as if none were measured.
"""

from collections.abc import Iterable, Mapping

from edge_planning.pools.contention import bounded
from edge_planning.pools.elastic_shares import Wanted, max_min, tenants_parts
from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger
from edge_planning.pools.reservations import Kind, Resource
from edge_planning.pools.values import PoolDemand, PoolProblem
from edge_planning.pools.waiting import mixed, moments, wait
from edge_planning.problems import Traffic

NOTICED = 0.1
"""Part of what a service would take alone that others must take for it to be short."""

_Service = tuple[str, str]
_Sums = tuple[float, float, float]


class Crowding:
    """Measured requests beside the reservations of a ledger, as that is at the time of a call.

    Attributes:
        limits: How much of each resource requests can use, with bounded waits.
        places: Nodes and Triton servers.
        weights: Of tenants.
        measured: Whether anything is measured; if not, all of this changes nothing.
    """

    def __init__(self, problem: PoolProblem, ledger: Ledger, capacity: Mapping[Resource, float]) -> None:
        self.ledger = ledger
        self.servers = {one.name: one.concurrency for one in problem.servers}
        self.limits = {one: bounded(one, amount, self.servers) for one, amount in capacity.items()}
        self.places = frozenset(one.place for one in capacity)
        self.weights = {one.name: one.weight for one in problem.owners}
        self.measured = any(one.observed is not None for one in problem.demands)
        self._at = -1
        self._taken: dict[Resource, Mapping[str, float]] = {}
        self._short: dict[Resource, frozenset[_Service]] = {}
        self._streams: dict[str, Mapping[_Service, _Sums]] = {}
        self._waits: dict[tuple[str, _Service | None, float], float] = {}

    def taken(self, resource: Resource) -> Mapping[str, float]:
        """Returns what measured requests take of a resource beside what is reserved, by demand."""
        self._refresh()
        if resource not in self._taken:
            self._taken[resource] = self._shares(resource)
        return self._taken[resource]

    def used(self, resource: Resource) -> dict[str, float]:
        """Returns what is reserved or taken of a resource, by demand, the largest first."""
        taken = self.taken(resource)
        found = {name: amount + taken.get(name, 0.0) for name, amount in self.ledger.users(resource)}
        return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))

    def wanted(self, held: Held, resource: Resource) -> float:
        """Returns what a demand would take of a resource if there were enough, its reservation included."""
        return dict(held.uses()).get(resource, 0.0) * (1 + held.demand.unreserved)

    def short(self, name: str) -> Resource | None:
        """Returns the first resource of which other services leave the demand's service too little."""
        held = self.ledger.held[name]
        if not held.demand.unreserved:
            return None
        resources = sorted(one for one, _ in held.uses())
        return next((one for one in resources if _service(held.demand) in self._short_at(one)), None)

    def wait(self, place: str, percentile: float) -> float:
        """Returns the seconds that requests wait at a place."""
        self._refresh()
        key = (place, None, percentile)
        if key not in self._waits:
            self._waits[key] = self._wait(place, percentile, self._streams_at(place).values())
        return self._waits[key]

    def others_wait(self, place: str, demand: PoolDemand, percentile: float) -> float:
        """Returns the seconds that requests would wait at a place without the service's measured ones."""
        streams = self._streams_at(place)
        if _service(demand) not in streams:
            return self.wait(place, percentile)
        others = [one for service, one in streams.items() if service != _service(demand)]
        return self._wait(place, percentile, others)

    def exposed(self, demand: PoolDemand) -> bool:
        """Returns whether measured requests of others can make a demand late."""
        return self.measured and (demand.observed is None or demand.observed.late)

    def in_time(self, name: str) -> bool:
        """Returns whether a demand's planned route is in time beside all requests.

        It is if the demand's own requests were measured to be in time.
        """
        if not self.ledger.in_time(name):
            return False
        held = self.ledger.held[name]
        reserved = held.reserved
        if not self.exposed(held.demand):
            return True
        if self.short(name) is not None:
            return False
        late = sum(
            max(self._caused(place, _service(held.demand), reserved.percentile) - assumed, 0.0)
            for place, assumed in reserved.waits.items()
        )
        return late <= reserved.slack + 1e-9

    def _caused(self, place: str, service: _Service, percentile: float) -> float:
        """Returns the seconds that the requests of a service wait at a place because of others."""
        own = self._streams_at(place).get(service)
        if own is None:
            return self.wait(place, percentile)
        key = (place, service, percentile)
        if key not in self._waits:
            self._waits[key] = self._wait(place, percentile, [own], reserved=False)
        return self.wait(place, percentile) - self._waits[key]

    def _wait(
        self, place: str, percentile: float, streams: Iterable[_Sums], *, reserved: bool = True
    ) -> float:
        firm = self.ledger.traffic(place) if reserved else None
        total = mixed([*streams, *([] if firm is None else [moments(firm)])])
        return 0.0 if total is None else wait((total,), self.servers.get(place, 1), percentile)

    def _streams_at(self, place: str) -> Mapping[_Service, _Sums]:
        """Returns the measured requests that a place serves, by service."""
        self._refresh()
        if place not in self._streams:
            resource = Resource(Kind.BUSY if place in self.servers else Kind.CPU, place)
            reserved = dict(self.ledger.users(resource))
            found: dict[_Service, _Sums] = {}
            for name, amount in self.taken(resource).items():
                held = self.ledger.held[name]
                one = held.reserved.traffic[place]
                more = moments(Traffic((amount + reserved[name]) / one.seconds, one.seconds, one.variance))
                _add(found, _service(held.demand), more)
            self._streams[place] = found
        return self._streams[place]

    def _short_at(self, resource: Resource) -> frozenset[_Service]:
        """Returns the services that would take clearly more of a resource alone."""
        self._refresh()
        if resource not in self._short:
            sums: dict[_Service, _Sums] = {}
            taken = self.taken(resource)
            for name, own in self.ledger.users(resource):
                demand = self.ledger.held[name].demand
                _add(sums, _service(demand), (own, own * demand.unreserved, taken.get(name, 0.0)))
            limit = self.limits[resource]
            self._short[resource] = frozenset(
                service
                for service, (own, wanted, got) in sums.items()
                if got < min(wanted, max(limit - own, 0.0)) * (1 - NOTICED)
            )
        return self._short[resource]

    def _shares(self, resource: Resource) -> Mapping[str, float]:
        """Returns what each demand takes: within a tenant, max-min fair shares.

        Of entry nodes that are planned as one, each counts.
        """
        asking: dict[str, dict[str, Wanted]] = {}
        for name, own in self.ledger.users(resource):
            held = self.ledger.held[name]
            more = own * held.demand.unreserved
            if more and resource.kind is not Kind.MEMORY:
                count = 1 if resource.place == held.demand.node else held.count
                owner = held.demand.owner if self.ledger.accounts is not None else ""
                asking.setdefault(owner, {})[name] = Wanted(more, count)
        left = max(self.limits[resource] - self.ledger.used(resource), 0.0)
        if self.ledger.accounts is None:
            return max_min(asking.get("", {}), left)
        wanted = {
            owner: Wanted(sum(one.amount for one in each.values()), self.weights[owner])
            for owner, each in asking.items()
        }
        parts = tenants_parts(wanted, left, resource, self.ledger.accounts)
        found: dict[str, float] = {}
        for owner, each in asking.items():
            found |= max_min(each, parts[owner])
        return found

    def _refresh(self) -> None:
        if self._at != self.ledger.changes:
            self._at = self.ledger.changes
            self._taken, self._short, self._streams, self._waits = {}, {}, {}, {}


def _add(sums: dict[_Service, _Sums], service: _Service, more: _Sums) -> None:
    before = sums.get(service, (0.0, 0.0, 0.0))
    sums[service] = before[0] + more[0], before[1] + more[1], before[2] + more[2]


def _service(demand: PoolDemand) -> _Service:
    return demand.tenant, demand.service
