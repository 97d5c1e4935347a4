"""What is reserved of a pool, and how long requests wait at each place."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import inf

from edge_planning.pools.accounts import TOLERANCE, Accounts, kind_of
from edge_planning.pools.held import Held
from edge_planning.pools.reservations import Kind, Part, Resource
from edge_planning.pools.values import PoolDemand, PoolProblem
from edge_planning.pools.waiting import mixed, moments, rounded_down, wait
from edge_planning.problems import Traffic
from edge_planning.sharing import ResourceKind


class Ledger:
    """Reservations by demand, and what is left. changes: how often they changed."""

    def __init__(
        self, problem: PoolProblem, capacity: Mapping[Resource, float], accounts: Accounts | None = None
    ) -> None:
        """accounts: of the tenants, if they share by entitlement."""
        self.capacity = capacity
        self.accounts = accounts
        self.servers = {one.name: one.concurrency for one in problem.servers}
        self.held: dict[str, Held] = {}
        self.changes = 0
        self._used: dict[Resource, float] = {}
        self._parts: Counter[Part] = Counter()
        self._here: Counter[str] = Counter()
        self._moments: dict[str, tuple[float, float, float]] = {}
        self._bits: dict[str, float] = {}
        self._senders: Counter[str] = Counter()
        self._holding: dict[Resource, set[str]] = {}
        self._users: dict[Resource, tuple[tuple[str, float], ...]] = {}
        self._waits: dict[tuple[str, float], float] = {}

    def add(self, held: Held) -> None:
        """Reserves."""
        self.held[held.demand.name] = held
        self._change(held, 1)
        for resource in held.reserved.resources:
            self._holding.setdefault(resource, set()).add(held.demand.name)
            self._users.pop(resource, None)

    def remove(self, name: str) -> Held:
        """Frees what a demand holds, and returns it."""
        held = self.held.pop(name)
        self._change(held, -1)
        for resource in held.reserved.resources:
            self._holding[resource].discard(name)
            self._users.pop(resource, None)
        return held

    @contextmanager
    def without(self, names: Iterable[str]) -> Iterator[None]:
        """Frees what demands hold for a while, during which `users` still lists them."""
        gone = [self.held[name] for name in names]
        for held in gone:
            self._change(held, -1)
        try:
            yield
        finally:
            for held in reversed(gone):
                self._change(held, 1)

    def used(self, resource: Resource) -> float:
        """Returns the amount in use."""
        return self._used.get(resource, 0.0)

    def holders(self, part: Part) -> int:
        """Returns the number of demands that use a part."""
        return self._parts[part]

    def asked(self, held: Held) -> dict[Resource, float]:
        """Returns how much more of each resource a reservation would take."""
        found = dict(held.uses())
        for part, size in held.reserved.parts.items():
            if not self._parts[part]:
                found[part.memory] = found.get(part.memory, 0.0) + size
        return {one: found[one] for one in sorted(found) if found[one] > 0}

    def left(self, resource: Resource, owner: str) -> float:
        """Returns how much more of a resource a tenant can use."""
        free = self.capacity[resource] - self.used(resource)
        if self.accounts is not None:
            free = min(free, self.accounts.left(owner, resource, free))
        return max(free, 0.0)

    def borrows(self, owner: str, resource: Resource) -> bool:
        """Returns whether a tenant uses more of a resource than it is entitled to."""
        return self.accounts is not None and self.accounts.borrows(owner, resource)

    def kind_of(self, resource: Resource) -> ResourceKind:
        """Returns the kind for which tenants have quotas."""
        return kind_of(resource, self.servers)

    def binding(self, held: Held, limits: Mapping[Resource, float] | None = None) -> Resource | None:
        """Returns the first resource of which too little is left; None if all suffice.

        limits: In place of the capacities.
        """
        capacity = self.capacity if limits is None else limits
        for resource, more in self.asked(held).items():
            if self.used(resource) + more > capacity[resource] * (1 + TOLERANCE):
                return resource
        return None if self.accounts is None else self.accounts.binding(held, self._used)

    def fits(self, held: Held, limits: Mapping[Resource, float] | None = None) -> bool:
        """Returns whether enough of every resource is left."""
        capacity, used = self.capacity if limits is None else limits, self._used
        for resource, more in held.uses():
            if more > 0 and used.get(resource, 0.0) + more > capacity[resource] * (1 + TOLERANCE):
                return False
        added: dict[Resource, float] = {}
        for part, size in held.reserved.parts.items():
            if size and not self._parts[part]:
                added[part.memory] = added.get(part.memory, 0.0) + size
        fits = all(
            used.get(resource, 0.0) + more <= capacity[resource] * (1 + TOLERANCE)
            for resource, more in added.items()
        )
        return fits and (self.accounts is None or self.accounts.binding(held, used) is None)

    def overfull(self) -> list[Resource]:
        """Returns the resources of which more is used than there is, or than a tenant may use."""
        accounts = self.accounts
        return [
            one
            for one, used in sorted(self._used.items())
            if used > self.capacity[one] * (1 + TOLERANCE)
            or (accounts is not None and accounts.exceeded(one, used))
        ]

    def share(self, place: str) -> float:
        """Returns the largest share of any resource of a place that is in use."""
        return max(
            (
                self._used.get(Resource(kind, place), 0.0) / limit
                for kind in Kind
                if 0 < (limit := self.capacity.get(Resource(kind, place), 0.0)) < inf
            ),
            default=0.0,
        )

    def traffic(self, place: str) -> Traffic | None:
        """Returns all requests at a place as one stream, or None."""
        return mixed([self._moments.get(place, (0.0, 0.0, 0.0))])

    def others(self, place: str, name: str) -> Traffic | None:
        """Returns the requests at a place without those of one entry node of a demand, or None."""
        total = self._moments.get(place, (0.0, 0.0, 0.0))
        own = self.held.get(name)
        stream = own.traffic.get(place) if own is not None else None
        if stream is None:
            return mixed([total])
        if self._here[place] == 1 and (own is None or own.count == 1 or place == own.demand.node):
            return None
        rate, busy, second = moments(stream)
        return mixed([total, (-rate, -busy, -second)])

    def others_bits(self, demand: PoolDemand) -> float:
        """Returns the bit/s that other demands send over a demand's uplink, without assumed ones."""
        place = demand.node
        own = self.held.get(demand.name)
        mine = _bits(own) if own is not None else 0.0
        return max(self._bits.get(place, 0.0) - mine, 0.0) if self._senders[place] > bool(mine) else 0.0

    def wait(self, place: str, percentile: float) -> float:
        """Returns the seconds that the requests at a place wait."""
        key = (place, percentile)
        if key not in self._waits:
            total = self.traffic(place)
            servers = self.servers.get(place, 1)
            self._waits[key] = 0.0 if total is None else wait((total,), servers, percentile)
        return self._waits[key]

    def in_time(self, name: str) -> bool:
        """Returns whether the waits at the places of a demand leave its planned route in time."""
        reserved = self.held[name].reserved
        if reserved.slack == inf:
            return False
        late = sum(
            max(self.wait(place, reserved.percentile) - assumed, 0.0)
            for place, assumed in reserved.waits.items()
        )
        return late <= reserved.slack + 1e-9

    def users(self, resource: Resource) -> tuple[tuple[str, float], ...]:
        """Returns how much of a resource each demand uses, the largest first."""
        if resource not in self._users:
            found = {name: self._of(name, resource) for name in self._holding.get(resource, ())}
            users = ((name, used) for name, used in found.items() if used > 0)
            self._users[resource] = tuple(sorted(users, key=lambda one: (-one[1], one[0])))
        return self._users[resource]

    def _of(self, name: str, resource: Resource) -> float:
        """Returns how much of a resource a demand uses."""
        held = self.held[name]
        if resource.kind is Kind.MEMORY:
            return sum(size for part, size in held.reserved.parts.items() if part.memory == resource)
        amount = held.reserved.uses.get(resource, 0.0)
        return amount if resource.place == held.demand.node else amount * held.count

    def totals(self) -> dict[Resource, float]:
        """Returns the use of every resource, summed in the order of names."""
        found: dict[Resource, float] = {}
        counted: set[Part] = set()
        for name in sorted(self.held):
            for resource, amount in sorted(self.held[name].uses()):
                found[resource] = found.get(resource, 0.0) + amount
            for part, size in sorted(self.held[name].reserved.parts.items()):
                if part not in counted:
                    counted.add(part)
                    found[part.memory] = found.get(part.memory, 0.0) + size
        return found

    def _change(self, held: Held, sign: int) -> None:
        self.changes += 1
        if self.accounts is not None:
            self.accounts.change(held, sign)
        for resource, amount in held.uses():
            self._used[resource] = self._used.get(resource, 0.0) + sign * amount
        for part, size in held.reserved.parts.items():
            before = self._parts[part]
            self._parts[part] += sign
            if not before or not self._parts[part]:
                self._used[part.memory] = self._used.get(part.memory, 0.0) + sign * size
        bits, node = _bits(held), held.demand.node
        if bits:
            self._senders[node] += sign
            self._bits[node] = self._bits.get(node, 0.0) + sign * bits if self._senders[node] else 0.0
        for place, more in held.moments():
            self._here[place] += sign
            old = self._moments.get(place, (0.0, 0.0, 0.0)) if self._here[place] else (0.0, 0.0, 0.0)
            added = tuple(was + sign * one for was, one in zip(old, more, strict=True))
            self._moments[place] = (added[0], added[1], added[2]) if self._here[place] else (0.0, 0.0, 0.0)
            self._waits.clear()


def capacities(problem: PoolProblem, uplink_share: float) -> dict[Resource, float]:
    """Returns the capacity of every resource of a pool.

    That of an uplink is at most `uplink_share` of the highest bandwidth that a demand measures on it.
    """
    found: dict[Resource, float] = {}
    measured: dict[str, float] = {}
    for demand in problem.demands:
        for one in demand.problems:
            if one.bandwidth is not None:
                bandwidth = rounded_down(one.bandwidth, 2)
                measured[one.node] = max(measured.get(one.node, 0.0), bandwidth)
    for node in problem.nodes:
        found[Resource(Kind.CPU, node.name)] = node.cpu
        found[Resource(Kind.MEMORY, node.name)] = node.memory
        found[Resource(Kind.UPLINK, node.name)] = (
            min(node.uplink, measured.get(node.name, inf)) * uplink_share
        )
    for server in problem.servers:
        found[Resource(Kind.BUSY, server.name)] = float(server.concurrency)
        found[Resource(Kind.MEMORY, server.name)] = server.memory
    return found


def _bits(held: Held) -> float:
    """Returns the bit/s on the uplink, without those of an assumed rate."""
    return (
        0.0 if held.demand.assumed else held.reserved.uses.get(Resource(Kind.UPLINK, held.demand.node), 0.0)
    )
