"""What the cluster says of its services, as `ei status`, `routes`, `tenants` and `top` show it. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from edge_api import Placement, Tenant, reasons
from edge_api.earlier import in_this_version
from edge_api.inferenceservices import EntryStatus, InferenceService
from edge_api.objects import Condition, Part
from edge_api.placement_reports import LinkStatus, LocalLinkStatus
from edge_api.quantities import Attainment, Bandwidth, Duration, Quantity
from edge_api.tenants import TenantPoolStatus
from edge_operator.conditions import condition
from edge_operator.reading import read


class ServiceStatus(Part):
    """An InferenceService at a glance.

    reason, message: of the condition that says most about what is wrong; if nothing is, of Idle for an idle
    service, else of Ready. conditions, nodes: empty in a list of services.
    """

    service: str
    namespace: str
    ready: str
    reason: str
    message: str
    ready_entries: str | None = None
    attainment: str | None = None
    error_budget_remaining: Attainment | None = None
    p95: Duration | None = None
    exit: str | None = None
    cut: str | None = None
    url: str | None = None
    conditions: tuple[Condition, ...] = ()
    nodes: tuple[EntryStatus, ...] = ()


class RouteLine(Part):
    """A route of a published table. used_from: bandwidth in bit/s."""

    name: str
    exit: str
    accuracy: float
    used_from: Quantity
    predicted_latency: Duration
    stages: tuple[str, ...]
    active: bool


class PublishedTable(Part):
    """The route table of a service at an entry node, and what its runtime reports."""

    service: str
    namespace: str
    node: str
    loaded: bool
    message: str = ""
    link: LinkStatus | None = None
    peer: str | None = None
    local_links: tuple[LocalLinkStatus, ...] = ()
    p95: Duration | None = None
    requests: int = 0
    met: int = 0
    routes: tuple[RouteLine, ...]


class TenantLine(Part):
    """A Tenant, and what it has of each pool."""

    tenant: str
    weight: str
    namespaces: int
    share: str | None = None
    borrowed: str | None = None
    stepped_down: int
    refused: int
    reason: str
    message: str
    pools: tuple[TenantPoolStatus, ...] = ()


_ORDER = (reasons.MODEL_READY, reasons.PROFILED, reasons.PLANNED, reasons.PLACED, reasons.READY)


def service_status(body: Mapping[str, Any], *, whole: bool = False) -> ServiceStatus:
    """Returns what a service reports. whole: with its conditions and entry nodes."""
    metadata = body["metadata"]
    try:
        service = read(InferenceService, body)
    except ValidationError:
        return ServiceStatus(
            service=metadata["name"],
            namespace=metadata["namespace"],
            ready="Unknown",
            reason=reasons.UNREADABLE,
            message="the object is of another version: run the version of ei that the cluster runs",
        )
    status = service.status
    conditions = () if status is None else status.conditions
    ready = condition(conditions, reasons.READY)
    telling = _telling(conditions) or _idle(conditions) or ready
    slo = None if status is None else status.slo
    return ServiceStatus(
        service=metadata["name"],
        namespace=metadata["namespace"],
        ready="Unknown" if ready is None else ready.status,
        reason="NotSeen" if telling is None else telling.reason,
        message="no operator has seen it yet" if telling is None else telling.message,
        ready_entries=None if status is None else status.ready_entries,
        attainment=None if slo is None else slo.summary,
        error_budget_remaining=None if slo is None else slo.error_budget_remaining,
        p95=None if slo is None else slo.p95,
        exit=None if status is None else status.exit,
        cut=None if status is None else status.cut,
        url=None if status is None else status.url,
        conditions=conditions if whole else (),
        nodes=status.entries if whole and status is not None else (),
    )


def _telling(conditions: Iterable[Condition]) -> Condition | None:
    """Returns the first step that is not done, which says why the later ones are not."""
    found = {each.type: each for each in conditions}
    return next((found[name] for name in _ORDER if name in found and found[name].status != "True"), None)


def _idle(conditions: Iterable[Condition]) -> Condition | None:
    """Returns the condition Idle if the service is idle."""
    found = condition(conditions, reasons.IDLE)
    return found if found is not None and found.status == "True" else None


def published_table(body: Mapping[str, Any]) -> PublishedTable:
    """Returns a Placement's table. Raises ValidationError if it is of another version."""
    placement = Placement.model_validate(in_this_version(body))
    spec, status = placement.spec, placement.status
    active = status.active_route if status is not None else None
    latency = status.latency if status is not None else None
    return PublishedTable(
        service=spec.service,
        namespace=placement.metadata.namespace or "",
        node=spec.node,
        loaded=status is not None
        and status.loaded
        and status.observed_generation == (placement.metadata.generation or 0),
        message=spec.refusal or (status.message if status is not None else ""),
        link=status.link if status is not None else None,
        peer=spec.link.peer if spec.link is not None else None,
        local_links=(status.local_links or ()) if status is not None else (),
        p95=None if latency is None else latency.p95,
        requests=0 if status is None else status.requests,
        met=0 if status is None else status.met,
        routes=tuple(
            RouteLine(
                name=route.name,
                exit=route.exit,
                accuracy=float(route.accuracy),
                used_from=route.min_bandwidth,
                predicted_latency=route.predicted_latency,
                stages=tuple(stage.place for stage in route.stages),
                active=route.name == active,
            )
            for route in spec.routes
        ),
    )


def bandwidth_of(found: PublishedTable) -> Bandwidth | None:
    """Returns the measured bandwidth in bit/s of the link to Triton."""
    return None if found.link is None else found.link.bandwidth


def tenant_line(body: Mapping[str, Any]) -> TenantLine:
    """Returns what a Tenant reports. Raises ValidationError if it is of another version."""
    tenant = read(Tenant, body)
    status = tenant.status
    conditions = () if status is None else status.conditions
    wrong = next((each for each in conditions if each.status == "False"), None)
    telling = wrong or condition(conditions, reasons.SATISFIED)
    return TenantLine(
        tenant=tenant.metadata.name,
        weight=str(tenant.spec.fair_sharing.weight),
        namespaces=0 if status is None else status.namespaces,
        share=None if status is None else status.share,
        borrowed=None if status is None else status.borrowed,
        stepped_down=0 if status is None else status.stepped_down,
        refused=0 if status is None else status.refused,
        reason="NotSeen" if telling is None else telling.reason,
        message="" if telling is None else telling.message,
        pools=() if status is None else status.pools,
    )
