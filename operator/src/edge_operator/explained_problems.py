"""The planning problem of a service at one entry node, as if its services were alone. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edge_api import Placement
from edge_api.devicepools import DevicePoolSpec, TritonServer
from edge_api.inferenceservices import InferenceServiceSpec
from edge_operator.pool import manifests, margins, node_links
from edge_operator.pool.server_links import Link, peer_of
from edge_operator.pools import PoolMember, entries, intermediate_nodes
from edge_operator.store import DeviceProfile, ExitConfidence
from edge_planning import Codec, EntryProblem, Model


def usable_servers(pool: DevicePoolSpec, costs: Mapping[str, DeviceProfile]) -> Sequence[TritonServer]:
    """Returns the servers of profiled classes; all, if none is profiled yet."""
    profiled = [server for server in pool.triton_servers if server.device_class in costs]
    return profiled or pool.triton_servers


def published_server(
    pool: DevicePoolSpec, costs: Mapping[str, DeviceProfile], published: Placement | None
) -> TritonServer | None:
    """Returns the server that a Placement names, or the first usable one."""
    named = [server for server in pool.triton_servers if server.name == peer_of(published)]
    return next(iter([*named, *usable_servers(pool, costs)]), None)


def problem_at(
    service: InferenceServiceSpec,
    model: Model,
    pool: DevicePoolSpec,
    members: tuple[PoolMember, ...],
    *,
    costs: Mapping[str, DeviceProfile],
    member: PoolMember,
    placements: Mapping[str, Placement],
    server: TritonServer | None,
    link: Link,
    rates: Mapping[str, float],
    codecs: tuple[Codec, ...],
    confidences: Sequence[ExitConfidence] = (),
) -> EntryProblem:
    """Returns the planning problem of a service at one entry node. Pure.

    members: all nodes of the pool. placements: those of the service, by node. server: the one to use; without
    a profile of its class, no route leads to it. link: to the server. rates: see `arrival_rates`.
    Raises PlanningError.
    """
    published = placements.get(member.node.name)
    server = server if server is not None and server.device_class in costs else None
    served = entries(service, members)
    near = [m for m in intermediate_nodes(member, members) if server is None or m.node.name != server.name]
    problem = manifests.entry_problem(
        service,
        model,
        costs,
        member,
        remote=server.device_class if server else None,
        peer=server.name if server else "the cloud",
        rtt=link.rtt,
        bandwidth=link.bandwidth,
        codecs=codecs,
        intermediates=manifests.planned_intermediates(
            pool.links.local, costs, near, rates, node_links.planned_links(pool.links, published)
        ),
        entries=len(served),
        confidences=confidences,
        prices=pool.prices,
    )
    found = margins.planned_margins(problem, published, margins.ratios(placements, members, costs, member))
    return replace(problem, entry=replace(problem.entry, margins=found))


def arrival_rates(service: InferenceServiceSpec, members: tuple[PoolMember, ...]) -> dict[str, float]:
    """Returns the requests per second that can arrive at each node, from clients and from other nodes.

    The same for all entry nodes, at a cost of entry nodes times members.
    """
    rate, served = service.planned_rate, entries(service, members)
    if not rate:
        return {}
    arriving = [entry.node.name for entry in served]
    arriving += [near.node.name for entry in served for near in intermediate_nodes(entry, members)]
    return {name: rate * count for name, count in Counter(arriving).items()}
