"""What a service would get if its link, its SLO or its rate were another one.

The change is laid over the objects of the cluster, and the pool is planned as by an operator that sees them.
"""

import copy
import datetime
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from edge_api.quantities import Bandwidth, Duration, Quantity
from edge_api.validation_messages import problems
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS, Object
from edge_operator.errors import ExplanationError
from edge_operator.explaining.installed import Installed
from edge_operator.explaining.overlays import Overlaid, Reads
from edge_operator.explaining.services import explain_service, service_of
from edge_operator.explaining.values import (
    EntryExplanation,
    EntrySupposition,
    Explanation,
    Outcome,
    SupposedService,
)
from edge_operator.names import SERVICE_LABEL, label_value


@dataclass(frozen=True, slots=True)
class Supposition:
    """What is supposed; None: as it is.

    Attributes:
        bandwidth: Of the links to Triton servers, in bit/s.
        round_trip: Of these links, in seconds.
        latency: spec.slo.latency, in seconds.
        min_accuracy: spec.slo.minAccuracy, from 0 to 1.
        rate: spec.load.rate, in requests per second at each entry node.
        nodes: The entry nodes whose links are changed; empty: all.
    """

    bandwidth: int | None = None
    round_trip: float | None = None
    latency: float | None = None
    min_accuracy: float | None = None
    rate: float | None = None
    nodes: frozenset[str] = frozenset()


def suppose(
    cluster: Reads,
    namespace: str,
    name: str,
    supposition: Supposition,
    operator: Installed,
    now: datetime.datetime,
) -> SupposedService:
    """Returns what a service gets now, and what it would get.

    Raises ExplanationError if there is no plan yet, a node is not an entry node, or the spec is invalid;
    ClusterError.
    """
    before = explain_service(cluster, namespace, name, operator, now)
    unknown = sorted(supposition.nodes - {entry.node for entry in before.entries})
    if unknown:
        there = ", ".join(entry.node for entry in before.entries)
        raise ExplanationError(
            f'InferenceService {namespace}/{name}: "{unknown[0]}" is not an entry node: use one of {there}'
        )
    changed = _changed(cluster, namespace, name, supposition)
    after = explain_service(Overlaid(cluster, changed), namespace, name, operator, now)
    return SupposedService(
        service=name,
        namespace=namespace,
        latency=after.latency,
        notes=(*after.notes, *_unmeasured(changed, supposition, after)),
        entries=tuple(_entries(before, after, supposition.nodes)),
    )


def outcome(entry: EntryExplanation, latency: float, min_accuracy: float | None = None) -> Outcome:
    """Returns the route that is used at the bandwidth of an entry node, and what it gives there.

    latency: of the SLO, in seconds.
    """
    route = next((r for r in entry.routes if r.min_bandwidth <= entry.bandwidth), None)
    route = route or (entry.routes[-1] if entry.routes else None)
    if route is None:
        return Outcome(bandwidth=entry.bandwidth, meets_slo=False)
    weighed = next((each for each in entry.weighed if each.name == route.name), None)
    predicted = route.predicted_latency if weighed is None else weighed.latency
    in_time = predicted is not None and predicted <= latency
    return Outcome(
        bandwidth=entry.bandwidth,
        route=route.name,
        accuracy=route.accuracy,
        latency=predicted,
        meets_slo=in_time and (min_accuracy is None or route.accuracy >= min_accuracy),
        routes=tuple(each.name for each in entry.routes),
    )


def _entries(before: Explanation, after: Explanation, nodes: Collection[str]) -> Iterable[EntrySupposition]:
    found = {entry.node: entry for entry in before.entries}
    for entry in after.entries:
        if nodes and entry.node not in nodes:
            continue
        yield EntrySupposition(
            node=entry.node,
            before=outcome(found[entry.node], before.latency, before.min_accuracy),
            after=outcome(entry, after.latency, after.min_accuracy),
            nearest_feasible_latency=entry.nearest_feasible_latency,
            shortage=entry.shortage,
            remedies=entry.remedies,
        )


def _changed(cluster: Reads, namespace: str, name: str, supposition: Supposition) -> list[Object]:
    service_of(cluster, namespace, name)  # its errors name the service
    service = copy.deepcopy(cluster.get(INFERENCE_SERVICES, namespace, name))
    assert service is not None, "it was just read"
    slo = service["spec"]["slo"]
    if supposition.latency is not None:
        slo["latency"] = str(Duration(supposition.latency))
    if supposition.min_accuracy is not None:
        slo["minAccuracy"] = supposition.min_accuracy
    if supposition.rate is not None:
        slo.pop("throughput", None)
        service["spec"]["load"] = {**(service["spec"].get("load") or {}), "rate": supposition.rate}
    if wrong := problems(service):
        raise ExplanationError(f"InferenceService {namespace}/{name}: {wrong[0]}")
    selector = f"{SERVICE_LABEL}={label_value(name)}"
    return [service, *_links(cluster.find(PLACEMENTS, namespace, selector), supposition)]


def _links(placements: Iterable[Object], supposition: Supposition) -> Iterable[Object]:
    measured: dict[str, str] = {}
    if supposition.bandwidth is not None:
        measured["bandwidth"] = str(Bandwidth(supposition.bandwidth))
    if supposition.round_trip is not None:
        measured["roundTrip"] = str(Duration(supposition.round_trip))
    for body in placements:
        if not measured or (supposition.nodes and body["spec"]["node"] not in supposition.nodes):
            continue
        status = body.get("status") or {}
        link = {**(status.get("link") or {}), "state": "Up", **measured}
        if "bandwidth" in measured:
            link.pop("bandwidthLow", None)
        yield {**body, "status": {**status, "link": link}}


def _unmeasured(changed: Iterable[Object], supposition: Supposition, after: Explanation) -> tuple[str, ...]:
    """Returns a note if there are entry nodes without a Placement, which carries what was measured."""
    if supposition.bandwidth is None and supposition.round_trip is None:
        return ()
    wanted = supposition.nodes or {entry.node for entry in after.entries}
    have = {body["spec"]["node"] for body in changed if body["kind"] == PLACEMENTS.kind}
    missing = sorted(wanted - have)
    return (f"no Placement at {', '.join(missing)}: the link there is as before",) if missing else ()


def supposed_text(supposition: Supposition) -> str:
    """Returns what is supposed, such as `bandwidth 1M, spec.slo.latency 50ms`."""
    said = {
        "bandwidth": None if supposition.bandwidth is None else str(Quantity(supposition.bandwidth)),
        "round trip": None if supposition.round_trip is None else str(Duration(supposition.round_trip)),
        "spec.slo.latency": None if supposition.latency is None else str(Duration(supposition.latency)),
        "spec.slo.minAccuracy": None if supposition.min_accuracy is None else f"{supposition.min_accuracy:g}",
        "spec.load.rate": None if supposition.rate is None else f"{supposition.rate:g}",
    }
    return ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)
