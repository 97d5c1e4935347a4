"""What a demand holds of a pool."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge_planning.pools.reservations import Reservation, Resource
from edge_planning.pools.values import PoolDemand
from edge_planning.pools.waiting import moments
from edge_planning.problems import Traffic


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation of a demand at its entry node and, with `count`, at so many equal entry nodes.

    At its own node one of them counts, at intermediate nodes and Triton servers all of them.
    """

    demand: PoolDemand
    reserved: Reservation
    count: int = 1

    def uses(self) -> Iterator[tuple[Resource, float]]:
        """Yields what it uses of each resource but memory."""
        for resource, amount in self.reserved.uses.items():
            yield resource, amount if resource.place == self.demand.node else amount * self.count

    @property
    def traffic(self) -> Mapping[str, Traffic]:
        """Requests that others wait for, by place; none if the rate is assumed."""
        return {} if self.demand.assumed else self.reserved.traffic

    def moments(self) -> Iterator[tuple[str, tuple[float, float, float]]]:
        """Yields its requests at each place."""
        for place, stream in self.traffic.items():
            yield place, moments(stream, 1 if place == self.demand.node else self.count)
