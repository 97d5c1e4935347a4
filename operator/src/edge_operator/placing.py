"""The last step of a reconcile: load tails, apply objects, publish route tables, remove former nodes."""

import hashlib
import json
from collections.abc import Sequence

from edge_api import DevicePool, Placement, reasons
from edge_api.objects import written
from edge_operator import loading, metrics, relaying, residency
from edge_operator.cluster import KINDS, PLACEMENTS, Object, covers
from edge_operator.conditions import Blocked, Finding
from edge_operator.errors import (
    ControlDeniedError,
    ObjectRefusedError,
    StoreError,
    TailRefusedError,
    TritonBusyError,
    TritonError,
    TritonUntrustedError,
)
from edge_operator.names import FORMER_TAILS_ANNOTATION, NODE_LABEL, SERVICE_LABEL, label_value
from edge_operator.runs import Run
from edge_operator.workloads import entry_objects, runtime_access, service_objects

AWAITING = 5.0
"""Seconds after which to check again if an intermediate node has not reported its slice yet."""
RESYNC = 60.0
"""Seconds after which objects are compared with the cluster even without an event."""
_BUSY = 1.0
"""Seconds after which a server that loads other models is tried again."""
_FULL = 10.0
"""Seconds after which tails that did not fit are tried again."""
_OWNED = ("Deployment", "Service", "ServiceAccount", "Role", "RoleBinding")


def place(run: Run, pool: DevicePool, tables: Sequence[Placement]) -> Blocked | float:
    """Publishes the tables; returns the seconds until the next check."""
    try:
        tails = residency.tails_of(tables, pool.spec, run.settings.installation)
        run.memory.published = frozenset(tails)
        unknown = {key: tail for key, tail in tails.items() if key not in run.memory.loaded}
        loaded = loading.load_missing(run, pool, unknown)
        metrics.TAILS_LOADED.inc(loaded.count)
        run.memory.loaded = run.memory.published = frozenset(tails) - loaded.refused
        fitting = [residency.without(table, loaded.refused) for table in tables]
        _carriers(run)
        waiting = _publish(run, [table for table in fitting if table.spec.routes])
        held = relaying.still_needed(run.placements, _switched_nodes(run))
        # An entry node without a feasible route keeps its former ones.
        _clear(run, {table.spec.node for table in tables} | set(held) | set(run.infeasible))
        loading.release(run, tails)
        again = RESYNC
    except StoreError as error:
        return Blocked(
            reasons.PLACED,
            error.reason,
            str(error),
            transient=error.reason == reasons.UNREACHABLE,
            again=10.0,
        )
    except TailRefusedError as error:
        return Blocked(reasons.PLACED, reasons.TAIL_REFUSED, str(error))
    except TritonError as error:
        return _without_triton(run, tables, error)
    except ObjectRefusedError as error:
        return Blocked(reasons.PLACED, reasons.OBJECT_REFUSED, str(error))
    if loaded.refused:
        message = f"{loaded.message}; only the routes without these tails are used until then"
        run.findings.append(Finding(reasons.PLACED, "False", reasons.TRITON_FULL, message))
        return _FULL
    nodes = ", ".join(table.spec.node for table in tables)
    message = f"routes are published at {nodes}"
    if waiting:
        message += f"; routes through {', '.join(waiting)} follow once the runtime there has loaded its slice"
        again = min(again, AWAITING)
    run.findings.append(Finding(reasons.PLACED, "True", reasons.PUBLISHED, message))
    return again


def _without_triton(run: Run, tables: Sequence[Placement], because: TritonError) -> Blocked:
    """Keeps published tables; entry nodes without one get their local route."""
    new = [local for table in tables if table.spec.node not in run.placements and (local := _local(table))]
    message = str(because)
    if new:
        try:
            _carriers(run)
            _publish(run, new)
        except ObjectRefusedError as error:
            return Blocked(reasons.PLACED, reasons.OBJECT_REFUSED, str(error))
        message += f"; local routes only at {', '.join(table.spec.node for table in new)} until then"
    if isinstance(because, TritonBusyError):
        return Blocked(reasons.PLACED, reasons.TRITON_BUSY, message, transient=True, again=_BUSY)
    reason = reasons.TRITON_UNREACHABLE
    if isinstance(because, TritonUntrustedError):
        reason = reasons.TRITON_UNTRUSTED
    elif isinstance(because, ControlDeniedError):
        reason = reasons.CONTROL_DENIED
    return Blocked(reasons.PLACED, reason, message, transient=True, again=10.0)


def _local(table: Placement) -> Placement | None:
    """Returns the table with its local route alone; None if the mode has none."""
    last = table.spec.routes[-1]
    if any(stage.runtime != "Edge" for stage in last.stages):
        return None
    return table.model_copy(update={"spec": table.spec.model_copy(update={"routes": (last,)})})


def _carriers(run: Run) -> None:
    """Applies Deployments, Services and RBAC objects that differ from the cluster's."""
    wanted = runtime_access(run.body) + service_objects(run.body, run.settings)
    for member in (*run.members, *run.helpers):
        wanted += entry_objects(
            run.body,
            member.node.name,
            member.node.hostname,
            run.settings,
            [written(each) for each in member.tolerations],
        )
    fingerprint = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    now = run.clock.monotonic()
    verified = run.memory.verified
    if verified is not None and verified[0] == fingerprint and now - verified[1] < RESYNC:
        return
    live = {(body["kind"], body["metadata"]["name"]): body for kind in _OWNED for body in _owned(run, kind)}
    for body in wanted:
        current = live.get((body["kind"], body["metadata"]["name"]))
        if current is None:
            _refuse_foreign(run, body)
        if not covers(current, body):
            run.clients.cluster.apply(body)
    run.memory.verified = (fingerprint, now)


def _publish(run: Run, tables: Sequence[Placement]) -> list[str]:
    """Publishes slices of intermediate nodes, then routes through them. Returns the nodes it waits for."""
    before, switched = dict(run.placements), _switched_nodes(run)
    slices = relaying.still_needed(run.placements, switched)
    for node, needed in relaying.intermediate_slices(tables).items():
        slices[node] = slices.get(node, {}) | needed
    waiting: set[str] = set()
    for table in sorted(tables, key=lambda table: table.spec.node not in slices):
        now = relaying.publishable(table, before, switched)
        waiting |= relaying.awaited(table, now)
        body = relaying.with_intermediate_slices(now, slices.get(table.spec.node, {})).body()
        current = run.placements.get(table.spec.node)
        if current is None:
            _refuse_foreign(run, body)
        if current is None or not covers(current.body(), body):
            if current is not None:
                former = residency.former_tails(current.body())
                body["metadata"].setdefault("annotations", {})[FORMER_TAILS_ANNOTATION] = former
            applied = run.clients.cluster.apply(body)
            run.placements[table.spec.node] = Placement.model_validate(applied)
    return sorted(waiting)


def _switched_nodes(run: Run) -> set[str]:
    return {node for node, placement in run.placements.items() if _switched(placement)}


def _clear(run: Run, nodes: set[str]) -> None:
    """Removes former entry nodes."""
    left = [placement for node, placement in run.placements.items() if node not in nodes]
    for placement in left:
        _remove_entry(run, placement)
        del run.placements[placement.spec.node]


def _remove_entry(run: Run, placement: Placement) -> None:
    namespace, node = run.key.namespace, placement.spec.node
    for kind in ("Service", "Deployment"):
        for body in _owned(run, kind):
            if body["metadata"]["labels"].get(NODE_LABEL) == label_value(node):
                run.clients.cluster.delete(KINDS[kind], namespace, body["metadata"]["name"])
    run.clients.cluster.delete(PLACEMENTS, namespace, placement.metadata.name)


def _owned(run: Run, kind: str) -> list[Object]:
    return run.clients.cluster.find(
        KINDS[kind], run.key.namespace, f"{SERVICE_LABEL}={label_value(run.key.name)}"
    )


def _refuse_foreign(run: Run, wanted: Object) -> None:
    """Raises an error if an object of that name belongs to another owner."""
    kind, name = wanted["kind"], wanted["metadata"]["name"]
    found = run.clients.cluster.fetch(KINDS[kind], run.key.namespace, name)
    if found is None:
        return
    label = (found["metadata"].get("labels") or {}).get(SERVICE_LABEL)
    if label != label_value(run.key.name):
        whose = f"InferenceService {label}" if label else "something other than this operator"
        raise ObjectRefusedError(
            f"{kind} {run.key.namespace}/{name}: belongs to {whose}: delete it or rename the service"
        )


def _switched(placement: Placement) -> bool:
    report = placement.status
    return (
        report is not None
        and report.loaded
        and report.observed_generation >= (placement.metadata.generation or 0)
    )
