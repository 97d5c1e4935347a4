"""Takes what a pool's plan reads out of the mirror.

Cost of a service: its Placements, the Deployments of the runtimes at their nodes, and the pods of those that
are not ready or have not loaded a table.
"""

from collections.abc import Mapping
from typing import Protocol

from edge_api.rollouts import REVISION_OF_LABEL
from edge_operator.cluster import (
    DEPLOYMENTS,
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    JOBS,
    MODEL_PROFILES,
    NAMESPACES,
    NODES,
    PLACEMENTS,
    PODS,
    SERVICES,
    TENANTS,
    Kind,
    Object,
)
from edge_operator.keys import ServiceKey
from edge_operator.names import (
    FETCHER,
    MODEL_LABEL,
    POOL_LABEL,
    ROLE_LABEL,
    RUNTIME_LABEL,
    SERVICE_LABEL,
    label_value,
)
from edge_operator.nodes.rollouts import has_ready_pod
from edge_operator.nodes.runtimes import has_switched, is_earlier, runtime_of
from edge_operator.ownership import Claim, claim_of, older
from edge_operator.pool.actions import ObjectRef
from edge_operator.pool.liveness import deployment_of
from edge_operator.pool.states import (
    NOTHING,
    LoadOutcome,
    Refusal,
    RevisionState,
    RuntimeFindings,
    ServiceState,
    UnloadOutcome,
)
from edge_operator.pool.tenancy import Tenancy, resolved
from edge_operator.pool_nodes import Node, node_of

PROFILERS = f"{ROLE_LABEL}=profiler,{MODEL_LABEL}"


class Reads(Protocol):
    """The objects as last seen."""

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None: ...
    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]: ...


def service_state(
    reads: Reads,
    key: ServiceKey,
    body: Object,
    findings: RuntimeFindings = NOTHING,
    *,
    refusals: Mapping[ObjectRef, Refusal],
    loads: Mapping[str, LoadOutcome],
    unloads: Mapping[str, UnloadOutcome],
) -> ServiceState:
    """Returns a service as last seen. findings: of its namespace; others: results of its actions."""
    selector = f"{SERVICE_LABEL}={label_value(key.name)}"
    placements = tuple(reads.find(PLACEMENTS, key.namespace, selector))
    deployments, pods = {}, {}
    for placement in placements:
        name = deployment_of(placement)
        found = reads.get(DEPLOYMENTS, key.namespace, name)
        if found is not None:
            deployments[name] = found
        if not (has_ready_pod(found) and has_switched(placement)):
            runtime = runtime_of(placement).name
            labels = f"{RUNTIME_LABEL}={label_value(runtime)}"
            pods[runtime] = tuple(reads.find(PODS, key.namespace, labels))
            if runtime not in deployments and (own := reads.get(DEPLOYMENTS, key.namespace, runtime)):
                deployments[runtime] = own
    fetchers = reads.find(JOBS, key.namespace, f"{selector},{ROLE_LABEL}={FETCHER}")
    fetches = {job["metadata"]["name"]: job for job in fetchers}
    refused, notes, version = findings.concerning(key.name)
    return ServiceState(
        key=key,
        body=body,
        placements=placements,
        legacy=tuple(d for d in reads.find(DEPLOYMENTS, key.namespace, selector) if is_earlier(d)),
        profile=reads.get(MODEL_PROFILES, key.namespace, key.name),
        client_service=reads.get(SERVICES, key.namespace, key.name),
        deployments=deployments,
        pods=pods,
        fetches=fetches,
        fetch_pods={name: _pods(reads, key.namespace, name) for name in fetches},
        refused=refused,
        notes=notes,
        version=version,
        refusals=refusals,
        loads=loads,
        unloads=unloads,
        revision=_revision(reads, key, body),
    )


def _revision(reads: Reads, key: ServiceKey, body: Object) -> RevisionState | None:
    """Returns the candidate that the status of a service names, if it exists."""
    name: str | None = ((body.get("status") or {}).get("rollout") or {}).get("revision")
    if not name:
        return None
    found = reads.get(INFERENCE_SERVICES, key.namespace, name)
    if found is None:
        return None
    if (found["metadata"].get("labels") or {}).get(REVISION_OF_LABEL) != label_value(key.name):
        return None
    selector = f"{SERVICE_LABEL}={label_value(name)}"
    placements = tuple(reads.find(PLACEMENTS, key.namespace, selector))
    return RevisionState(found, placements, reads.get(MODEL_PROFILES, key.namespace, name))


def services_of(reads: Reads, pool: str, scope: str | None) -> dict[ServiceKey, Object]:
    """Returns the services whose spec names a pool. scope: the only namespace to look in; None: all."""
    return {
        ServiceKey(body["metadata"]["namespace"], body["metadata"]["name"]): body
        for body in reads.find(INFERENCE_SERVICES, scope)
        if body["spec"].get("devicePool") == pool
    }


def nodes(reads: Reads) -> tuple[Node, ...]:
    """Returns the nodes of the cluster by name."""
    return tuple(sorted(map(node_of, reads.find(NODES)), key=lambda node: node.name))


def older_pools(reads: Reads, pool: str) -> tuple[Claim, ...]:
    """Returns what the pools that are older than a pool select nodes by, from the oldest."""
    return older(map(claim_of, reads.find(DEVICE_POOLS)), pool)


def tenancy(reads: Reads) -> Tenancy:
    """Returns the tenants of the cluster."""
    tenants = reads.find(TENANTS)
    return resolved(tenants, reads.find(NAMESPACES) if tenants else ())


def pool_names(reads: Reads) -> tuple[str, ...]:
    """Returns the names of all pools, sorted."""
    return tuple(sorted(body["metadata"]["name"] for body in reads.find(DEVICE_POOLS)))


def pool_placements(reads: Reads, pool: str) -> tuple[Object, ...]:
    """Returns the Placements of a pool."""
    return tuple(reads.find(PLACEMENTS, None, f"{POOL_LABEL}={label_value(pool)}"))


def profilers(reads: Reads, namespace: str) -> tuple[dict[str, Object], dict[str, tuple[Object, ...]]]:
    """Returns the profiling Jobs by name, and their pods from the oldest, by the Job's name."""
    jobs = {job["metadata"]["name"]: job for job in reads.find(JOBS, namespace, PROFILERS)}
    return jobs, {name: _pods(reads, namespace, name) for name in jobs}


def _pods(reads: Reads, namespace: str, job: str) -> tuple[Object, ...]:
    found = reads.find(PODS, namespace, f"job-name={job}")
    return tuple(sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))))
