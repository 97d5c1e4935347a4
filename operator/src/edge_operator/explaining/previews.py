"""What would change in the plans of pools if manifests were applied.

Each pool is planned twice by the functions of the operator: from the objects of the cluster, and from these
with the manifests in their place.
"""

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge_api.validation_messages import problems
from edge_operator.cluster import DEVICE_POOLS, INFERENCE_SERVICES, TENANTS, Kind, Object
from edge_operator.errors import ExplanationError
from edge_operator.explaining.installed import Installed
from edge_operator.explaining.overlays import Overlaid, Reads
from edge_operator.explaining.replanning import SeenPool, replanned, seen_pool
from edge_operator.explaining.values import (
    Change,
    EntryChange,
    ObjectChange,
    PlannedTable,
    Preview,
    TenantChange,
    WaitingService,
)
from edge_operator.keys import ServiceKey
from edge_operator.pool.drafts import Now
from edge_operator.pool.plans import PoolPlan
from edge_operator.pool.pooled import PlannedEntry
from edge_operator.pool.tenant_status import share_of_pool
from edge_operator.versions import covers
from edge_planning import Plan

KINDS = {kind.kind: kind for kind in (INFERENCE_SERVICES, DEVICE_POOLS, TENANTS)}
"""The kinds of manifests that change plans."""
_UID = "planned"
Tables = Mapping[tuple[ServiceKey, str], "PlannedTable"]


@dataclass(frozen=True, slots=True)
class _Planned:
    seen: SeenPool
    plan: PoolPlan

    @property
    def tables(self) -> Tables:
        """What each service gets at each of its entry nodes."""
        joint = self.plan.joint
        if joint is None:
            return {}
        return {
            (key, entry.member.node.name): _table(entry)
            for key, entries in joint.entries.items()
            for entry in entries
            if not entry.intermediate
        }


def preview(
    cluster: Reads, manifests: Sequence[Object], namespace: str, operator: Installed, now: datetime.datetime
) -> Preview:
    """Returns what would change, for whom.

    manifests: objects of this API; those without a namespace are in `namespace`.
    Raises ExplanationError for an invalid manifest, and if a permission is missing; ClusterError.
    """
    wanted = [_wanted(cluster, body, namespace, now) for body in manifests]
    overlaid = Overlaid(cluster, wanted)
    pools = sorted(set(_pools(cluster, overlaid, wanted)))
    before = {name: _planned(cluster, name, namespace, operator, now) for name in pools}
    after = {name: _planned(overlaid, name, namespace, operator, now) for name in pools}
    return Preview(
        objects=tuple(_object(cluster, body) for body in wanted),
        entries=tuple(_entries(_joined(before), _joined(after))),
        waiting=tuple(_waiting(wanted, after)),
        tenants=tuple(_tenants(before, after)),
        notes=tuple(dict.fromkeys([*operator.notes, *_hidden(after, namespace)])),
    )


def _wanted(cluster: Reads, body: Object, namespace: str, now: datetime.datetime) -> Object:
    """Returns the object as it would be after it was applied."""
    if wrong := problems(body):
        raise ExplanationError("; ".join(wrong))
    kind, metadata = KINDS[body["kind"]], body["metadata"]
    where = metadata.get("namespace") or namespace if kind.namespaced else None
    there = cluster.get(kind, where, metadata["name"])
    if there is None:
        created = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        made = {"uid": _UID, "generation": 1, "creationTimestamp": created, **metadata}
        return {**body, "metadata": {**made, **({"namespace": where} if where else {})}}
    kept = {
        **there["metadata"],
        "labels": {**(there["metadata"].get("labels") or {}), **(metadata.get("labels") or {})},
    }
    return {
        **there,
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "spec": body["spec"],
        "metadata": kept,
    }


def _pools(cluster: Reads, overlaid: Reads, wanted: Iterable[Object]) -> Iterator[str]:
    """Yields the pools whose plans can change: those of services before and after, and all for a tenant."""
    for body in wanted:
        if body["kind"] == DEVICE_POOLS.kind:
            yield body["metadata"]["name"]
        elif body["kind"] == TENANTS.kind:
            yield from (each["metadata"]["name"] for each in overlaid.find(DEVICE_POOLS))
        else:
            metadata = body["metadata"]
            there = cluster.get(INFERENCE_SERVICES, metadata["namespace"], metadata["name"])
            yield from (each["spec"]["devicePool"] for each in (body, there) if each is not None)


def _planned(
    cluster: Reads, pool: str, namespace: str, operator: Installed, now: datetime.datetime
) -> _Planned:
    seen = seen_pool(cluster, pool, operator.settings, namespace, operator.scope)
    return _Planned(seen, replanned(seen.state, Now(0.0, now)))


def _joined(planned: Mapping[str, _Planned]) -> Tables:
    return {key: table for each in planned.values() for key, table in each.tables.items()}


def _table(entry: PlannedEntry) -> PlannedTable:
    plan = entry.plan
    if not isinstance(plan, Plan):
        reasons = plan.reasons if plan is not None else ()
        return PlannedTable(meets_slo=False, shortage=entry.shortage or "; ".join(reasons))
    routes = plan.table.routes
    return PlannedTable(
        routes=tuple(f"{route.name} from {route.min_bandwidth}" for route in routes),
        names=tuple(route.name for route in routes),
        accuracy=max(route.accuracy for route in routes),
        expected_accuracy=round(plan.table.accuracy, 4),
        meets_slo=plan.met,
        shortage=entry.shortage,
    )


def _entries(before: Tables, after: Tables) -> Iterator[EntryChange]:
    for key, node in sorted({**before, **after}):
        old, new = before.get((key, node)), after.get((key, node))
        yield EntryChange(
            service=key.name,
            namespace=key.namespace,
            node=node,
            change=_change(old, new),
            before=old,
            after=new,
        )


def _change(old: PlannedTable | None, new: PlannedTable | None) -> Change:
    if old is None or new is None:
        return "New" if old is None else "Removed"
    if old == new:
        return "Unchanged"
    better, worse = (_worth(new) > _worth(old)), (_worth(new) < _worth(old))
    return "Better" if better else "Worse" if worse else "Other"


def _worth(table: PlannedTable) -> tuple[bool, float]:
    return table.meets_slo, table.expected_accuracy


def _waiting(wanted: Iterable[Object], after: Mapping[str, _Planned]) -> Iterator[WaitingService]:
    """Yields the services of the manifests that have no part in a plan yet, with the reason."""
    for body in wanted:
        if body["kind"] != INFERENCE_SERVICES.kind:
            continue
        key = ServiceKey(body["metadata"]["namespace"], body["metadata"]["name"])
        planned = after[body["spec"]["devicePool"]].plan
        joint, service = planned.joint, planned.services.get(key)
        if joint is not None and key in joint.entries:
            continue
        blocked = None if service is None else service.blocked
        said = (
            "its model is profiled first: nothing is known of its costs"
            if blocked is None
            else blocked.message
        )
        reason = "" if blocked is None else blocked.reason
        yield WaitingService(service=key.name, namespace=key.namespace, reason=reason, message=said)


def _tenants(before: Mapping[str, _Planned], after: Mapping[str, _Planned]) -> Iterator[TenantChange]:
    for pool, planned in after.items():
        old, new = _shares(before[pool]), _shares(planned)
        for name in sorted({**old, **new}):
            if old.get(name) != new.get(name):
                yield TenantChange(tenant=name, pool=pool, before=old.get(name), after=new.get(name))


def _shares(planned: _Planned) -> dict[str, str]:
    joint = planned.plan.joint
    found = () if joint is None else joint.plan.plan.tenants
    return {one.name: share_of_pool(planned.seen.state.name, one).share for one in found}


def _object(cluster: Reads, body: Object) -> ObjectChange:
    kind, metadata = KINDS[body["kind"]], body["metadata"]
    there = cluster.get(kind, metadata.get("namespace"), metadata["name"])
    same = there is not None and covers(there["spec"], body["spec"]) and covers(body["spec"], there["spec"])
    return ObjectChange(
        kind=kind.kind,
        namespace=metadata.get("namespace") or "",
        name=metadata["name"],
        change="Create" if there is None else "Unchanged" if same else "Update",
    )


def _hidden(planned: Mapping[str, _Planned], namespace: str) -> Iterator[str]:
    kinds: dict[str, Kind] = {kind.plural: kind for each in planned.values() for kind in each.seen.hidden}
    if kinds:
        listed = " and ".join(kinds)
        yield f"not counted: {listed} of namespaces other than {namespace}, which this account cannot list"
