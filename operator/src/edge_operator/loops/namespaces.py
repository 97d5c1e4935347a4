"""Reconciles the runtimes of a namespace: what its Placements need is applied, and the rest goes.

All services of a namespace share its runtimes, so that one reconcile owns them, whatever service changed.

Cost: the services, Placements and runtimes of the namespace, read from the mirror, and one request for each
object that differs. Events that change none of them start no reconcile.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from edge_operator.authority.failures import Uncertified
from edge_operator.clients import Clock
from edge_operator.cluster import (
    DEPLOYMENTS,
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    KINDS,
    NETWORK_POLICIES,
    NODES,
    PLACEMENTS,
    PODS,
    SERVICES,
    Cluster,
)
from edge_operator.errors import ObjectRefusedError, WriteConflictError
from edge_operator.foreign import refuse_foreign
from edge_operator.keys import NamespaceKey
from edge_operator.names import OURS, RUNTIME_LABEL
from edge_operator.nodes.access import ACCESS
from edge_operator.nodes.cpu_requests import CONTAINER, Resize
from edge_operator.nodes.runtime_actions import Seen, decide
from edge_operator.nodes.runtimes import hosts, isolations
from edge_operator.nodes.succession import Moves
from edge_operator.ownership import claim_of, from_the_oldest
from edge_operator.pool.states import RuntimeFindings
from edge_operator.pool_nodes import node_of
from edge_operator.settings import Settings

REFUSED = 30.0
"""Seconds after which what the API server refused is tried again."""
CONFLICT = 1.0
"""Seconds until the next reconcile of a namespace after an object of it was created again."""


@dataclass
class NamespaceMemory:
    """What is kept between two reconciles of a namespace; empty after a restart, which only delays."""

    moves: Moves = field(default_factory=Moves)
    not_resized: dict[str, str] = field(default_factory=dict)
    """The requests that pods could not be given, by their uid."""
    findings: RuntimeFindings = field(default_factory=RuntimeFindings)


class Findings(Mapping[NamespaceKey, RuntimeFindings]):
    """What the reconciles of namespaces found."""

    def __init__(self, memories: Mapping[NamespaceKey, NamespaceMemory]) -> None:
        self._memories = memories

    def __getitem__(self, key: NamespaceKey) -> RuntimeFindings:
        return self._memories[key].findings

    def __iter__(self) -> Iterator[NamespaceKey]:
        return iter(self._memories)

    def __len__(self) -> int:
        return len(self._memories)


def reconcile_namespace(
    namespace: str,
    cluster: Cluster,
    settings: Settings,
    memory: NamespaceMemory,
    clock: Clock,
    uncertified: Uncertified | None = None,
) -> tuple[frozenset[str], float | None]:
    """Applies and deletes what differs. uncertified: why the runtimes' certificate is not issued or renewed.

    Returns the services whose findings changed, and the seconds until the next reconcile, if any. Raises
    ClusterError if the API server does not respond; a refused object is reported, and the others are applied.
    A refused deletion, which no service suffers from, is logged.
    """
    seen = observe(namespace, cluster)
    actions = decide(seen, settings, memory.moves, clock.monotonic(), clock.wall().timestamp())
    refused: dict[str, list[str]] = defaultdict(list)
    conflicts = False
    if uncertified is not None:
        reported = actions.notes if uncertified.serving else refused
        for service in _placed(seen):
            reported[service].append(uncertified.message)
    for wanted in actions.apply:
        try:
            kind, name = KINDS[wanted.body["kind"]], wanted.body["metadata"]["name"]
            known = refuse_foreign(cluster, wanted.body, seen.objects.get((kind, name)))
            cluster.apply(wanted.body, known)
        except ObjectRefusedError as error:
            for service in wanted.services:
                refused[service].append(str(error))
        except WriteConflictError as error:
            conflicts = True
            logging.getLogger(__name__).info("%s: it is decided on again", error)
    resized = _resize(cluster, actions.resize, memory)
    conflicts |= resized.conflicts
    for service, texts in resized.notes.items():
        others = f"; {len(texts) - 1} other pods neither" if len(texts) > 1 else ""
        actions.notes[service].append(texts[0] + others)
    undeleted = False
    for kind, name in actions.delete:
        try:
            cluster.delete(kind, namespace, name, seen.found(kind, name))
        except ObjectRefusedError as error:
            undeleted = True
            logging.getLogger(__name__).warning("%s", error)
        except WriteConflictError as error:
            conflicts = True
            logging.getLogger(__name__).info("%s: it is decided on again", error)
    before = memory.findings
    memory.findings = RuntimeFindings(dict(refused), dict(actions.notes), dict(actions.versions))
    names = isolations(seen.services)
    changed = frozenset(n for n in names if before.concerning(n) != memory.findings.concerning(n))
    if conflicts:
        return changed, CONFLICT
    incomplete = refused or undeleted or resized.again or uncertified is not None
    return changed, REFUSED if incomplete and actions.again is None else actions.again


def observe(namespace: str, cluster: Cluster) -> Seen:
    """Reads the namespace."""
    objects = {
        (kind, body["metadata"]["name"]): body
        for kind in (DEPLOYMENTS, SERVICES, NETWORK_POLICIES, *ACCESS)
        for body in cluster.find(kind, namespace, OURS)
    }
    placements = tuple(cluster.find(PLACEMENTS, namespace))
    names = sorted({placement["spec"]["node"] for placement in placements})
    nodes = [node_of(body) for name in names if (body := cluster.get(NODES, None, name)) is not None]
    return Seen(
        namespace,
        tuple(cluster.find(INFERENCE_SERVICES, namespace)),
        placements,
        tuple(cluster.find(PODS, namespace, RUNTIME_LABEL)),
        objects,
        hosts(nodes, from_the_oldest(claim_of(body) for body in cluster.find(DEVICE_POOLS))),
    )


@dataclass(slots=True)
class _Resized:
    """The pods that do not request what they should, by service.

    again: whether to try again soon. conflicts: whether a pod was replaced before it was resized.
    """

    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    again: bool = False
    conflicts: bool = False

    def note(self, resize: Resize, text: str) -> None:
        for service in resize.services:
            self.notes[service].append(text)


def _resize(cluster: Cluster, wanted: Iterable[Resize], memory: NamespaceMemory) -> _Resized:
    """Changes what pods request.

    What a cluster cannot do is tried once: pods of a later version start with the request.
    """
    found = _Resized()
    failed, memory.not_resized = memory.not_resized, {}
    for each in wanted:
        uid, name = each.pod["metadata"]["uid"], each.pod["metadata"]["name"]
        try:
            if failed.get(uid) == each.cpu or cluster.resize(each.pod, CONTAINER, {"cpu": each.cpu}) is None:
                memory.not_resized[uid] = each.cpu
                found.note(
                    each,
                    f"Pod {name} requests {each.cpu} of cpu after the next roll-out: the API server cannot "
                    "resize pods",
                )
        except ObjectRefusedError as error:
            found.note(each, f"Pod {name} does not request {each.cpu} of cpu yet: {error}")
            found.again = True
        except WriteConflictError as error:
            found.conflicts = True
            logging.getLogger(__name__).info("%s: it is decided on again", error)
    return found


def _placed(seen: Seen) -> set[str]:
    """Returns the services with Placements."""
    return {body["spec"]["service"] for body in seen.placements}
