"""The last step of a reconcile: load tails, publish route tables, remove former nodes."""

from collections.abc import Sequence

from edge_api import DevicePool, Placement, reasons
from edge_operator import loading, metrics, relaying, residency
from edge_operator.cluster import PLACEMENTS, covers
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
from edge_operator.foreign import refuse_foreign
from edge_operator.names import FORMER_TAILS_ANNOTATION
from edge_operator.runs import Run

AWAITING = 5.0
"""Seconds after which to check again if an intermediate node has not reported its slice yet."""
RESYNC = 60.0
"""Seconds after which objects are compared with the cluster even without an event."""
_BUSY = 1.0
"""Seconds after which a server that loads other models is tried again."""
_FULL = 10.0
"""Seconds after which tails that did not fit are tried again."""
_FULL_FOR = 600.0
"""Seconds for which a service avoids a server without room for its tails, if there is another one."""


def place(run: Run, pool: DevicePool, tables: Sequence[Placement]) -> Blocked | float | None:
    """Publishes the tables; returns the seconds until the next check.

    Returns None if tails do not fit on a Triton server in whose place another one can be used: nothing is
    published, and the server is noted as full.
    """
    try:
        tails = residency.tails_of(tables, pool.spec, run.settings.installation)
        run.memory.published = frozenset(tails)
        unknown = {key: tail for key, tail in tails.items() if key not in run.memory.loaded}
        loaded = loading.load_missing(run, pool, unknown, run.replaceable)
        metrics.TAILS_LOADED.inc(loaded.count)
        if full := {key.address for key in loaded.refused} & run.replaceable:
            until = run.clock.monotonic() + _FULL_FOR
            run.memory.full |= dict.fromkeys(full, until)
            loading.release(run, tails)
            return None
        run.memory.loaded = run.memory.published = frozenset(tails) - loaded.refused
        fitting = [residency.without(table, loaded.refused) for table in tables]
        waiting = _publish(run, [table for table in fitting if table.spec.routes])
        held = relaying.still_needed(run.placements, _switched_nodes(run))
        # An entry node without a feasible route keeps its former ones.
        _clear(run, {table.spec.node for table in tables} | set(held) | set(run.infeasible))
        loading.release(run, tails)
        again = RESYNC
    except StoreError as error:
        return Blocked(reasons.PLACED, error.reason, str(error), transient=error.transient, again=10.0)
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
    refused, notes = run.runtimes.concerning(run.key.name)
    if refused:
        return Blocked(reasons.PLACED, reasons.OBJECT_REFUSED, "; ".join(refused))
    if waiting:
        message += f"; routes through {', '.join(waiting)} follow once the runtime there has loaded its slice"
        again = min(again, AWAITING)
    message = "; ".join([message, *([run.servers] if run.servers else []), *notes])
    run.findings.append(Finding(reasons.PLACED, "True", reasons.PUBLISHED, message))
    return again


def _without_triton(run: Run, tables: Sequence[Placement], because: TritonError) -> Blocked:
    """Keeps published tables; entry nodes without one get their local route."""
    new = [local for table in tables if table.spec.node not in run.placements and (local := _local(table))]
    message = str(because)
    if new:
        try:
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
            refuse_foreign(run.clients.cluster, body, None)
        if current is None or not covers(current.body(), body):
            if current is not None:
                former = residency.former_tails(current.body())
                body["metadata"].setdefault("annotations", {})[FORMER_TAILS_ANNOTATION] = former
            applied = run.clients.cluster.apply(body)
            run.placements[table.spec.node] = Placement.model_validate(applied)
    return sorted(waiting)


def _switched_nodes(run: Run) -> set[str]:
    return {node for node, placement in run.placements.items() if placement.switched}


def _clear(run: Run, nodes: set[str]) -> None:
    """Removes former entry nodes; the namespace's reconcile removes the runtimes that nothing needs then."""
    for placements in (run.placements, run.former):
        for node in [node for node in placements if node not in nodes]:
            name = placements[node].metadata.name
            run.clients.cluster.delete(PLACEMENTS, run.key.namespace, name)
            del placements[node]
