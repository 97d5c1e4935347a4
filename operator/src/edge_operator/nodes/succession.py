"""When clients move from one set of pods to another, and when the former pods can go.

Pure but for `Moves`, in which it notes when moves began.

A service moves when its isolation changes, and when the pods of an earlier version, one Deployment for each
service and node, give way to the namespace's runtimes. Clients are sent to the new pods once these serve
at every node; the former pods go when clients have moved and the new pod at their node serves.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_api.policies import Isolation
from edge_operator.cluster import Object
from edge_operator.nodes.rollouts import has_ready_pod
from edge_operator.nodes.runtimes import Host, Runtime, has_switched, runtime_of

SETTLING = 10.0
"""Seconds for which new pods must serve before clients are sent to them, and former pods stay after that.

It outlasts the spreading of a Service's endpoints to the nodes.
"""


@dataclass(slots=True)
class Moves:
    """When a service began to be ready to move, and to be moved, in seconds of a monotonic clock."""

    ready: dict[str, float] = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)

    def forget(self, services: Collection[str]) -> None:
        """Keeps these services only."""
        for times in (self.ready, self.moved):
            for name in [each for each in times if each not in services]:
                del times[name]


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of a namespace.

    deployments: by the name of their runtime. crowded: runtimes whose new pod does not fit on its node.
    """

    deployments: Mapping[str, Object]
    crowded: frozenset[str]
    hosts: Mapping[str, Host]

    def serves(self, runtime: Runtime) -> bool:
        """Whether a pod of the runtime is ready."""
        return has_ready_pod(self.deployments.get(runtime.name))

    def in_the_way(self, runtime: Runtime) -> bool:
        """Whether former pods must go before the runtime's first pod can start."""
        return runtime.name in self.crowded and not self.serves(runtime)


def takes_over(placement: Object, wanted: Isolation, pods: Pods) -> bool:
    """Whether clients of a service lose nothing at a node if they are sent to its wanted runtimes.

    A node that is not Ready cannot start a pod, and is not waited for; nor is one without room for it.
    """
    namespace, node = placement["metadata"]["namespace"], placement["spec"]["node"]
    runtime = Runtime(namespace, node, placement["spec"]["service"] if wanted == "Dedicated" else "")
    host = pods.hosts.get(node)
    if host is None or not host.ready or pods.in_the_way(runtime):
        return True
    published = placement["spec"].get("isolation") or "Shared"
    return pods.serves(runtime) and (
        wanted == "Dedicated" or (published == wanted and has_switched(placement))
    )


def may_move(
    service: str,
    placements: Sequence[Object],
    wanted: Isolation,
    pods: Pods,
    moves: Moves,
    now: float,
) -> bool:
    """Whether to send the clients of a service to its wanted runtimes. placements: of the service."""
    if not placements or not all(takes_over(each, wanted, pods) for each in placements):
        moves.ready.pop(service, None)
        return False
    if now - moves.ready.setdefault(service, now) < SETTLING:
        return False
    moves.moved[service] = now
    return True


def settled(service: str, moves: Moves, now: float) -> bool:
    """Whether clients of the service have moved for long enough. Called only while they have."""
    moves.ready.pop(service, None)
    return now - moves.moved.setdefault(service, now) >= SETTLING


def superseded(
    former: Iterable[Object], placements: Mapping[tuple[str, str], Object], pods: Pods
) -> list[Object]:
    """Returns the Placements of an earlier version whose successor serves at the same node.

    placements: those of this version by service and node. A Placement without a successor stays: the service
    has not been planned since.
    """
    found = []
    for body in former:
        service, node = body["spec"]["service"], body["spec"]["node"]
        successor = placements.get((service, node))
        if successor is None:
            continue
        runtime = runtime_of(successor)
        if pods.in_the_way(runtime) or (pods.serves(runtime) and has_switched(successor)):
            found.append(body)
    return found
