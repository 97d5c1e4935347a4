"""Checks of Tenants and DevicePools against each other and against the services that use them. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from edge_api import Tenant, reasons
from edge_operator.admission.requests import Request
from edge_operator.admission.states import State, named, some
from edge_operator.admission.verdicts import Problem
from edge_operator.cluster import DEVICE_POOLS, TENANTS, Kind
from edge_operator.pool.protection import FIXES, users
from edge_operator.pool.tenancy import NO_TENANTS, Tenancy, resolved

_NEWEST = "9999"
"""Sorts after every creationTimestamp."""


def check_tenant(request: Request, state: State) -> Iterator[Problem]:
    """Yields the problems of a Tenant, all of them warnings: what they name may change a second later.

    Raises ValidationError if a value cannot be read.
    """
    spec = Tenant.model_validate({**request.new, "status": None}).spec
    tenancy = resolved(_with(request, state), state.namespaces)
    known = state.pool_names()
    for index, each in enumerate(spec.pools):
        if each.name not in known:
            message = (
                f'spec.pools[{index}].name: "{each.name}" does not exist: apply the DevicePool, or '
                "write one of "
                f"{', '.join(known) or 'those that you apply'}"
            )
            yield Problem(reasons.UNKNOWN_POOL, message)
    for namespace, older in tenancy.overlaps.get(request.name, ()):
        message = (
            f"spec.namespaceSelector: selects namespace {namespace}, which belongs to the older Tenant "
            f"{older}: "
            "change one of the two selectors"
        )
        yield Problem(reasons.NAMESPACE_OF_OLDER_TENANT, message)
    yield from _entitlements(spec.pools, tenancy)
    yield from _above(request.name, spec.priority_ceiling, tenancy, state)


def check_tenant_deletion(request: Request, state: State) -> Iterator[Problem]:
    """Yields a warning if a Tenant has services: its deletion waits for them."""
    tenancy = resolved(state.tenants, state.namespaces)
    yield from _still_in_use(TENANTS, request, state, tenancy)


def check_pool_deletion(request: Request, state: State) -> Iterator[Problem]:
    """Yields a warning if services use a DevicePool: its deletion waits for them."""
    yield from _still_in_use(DEVICE_POOLS, request, state, NO_TENANTS)


def _still_in_use(kind: Kind, request: Request, state: State, tenancy: Tenancy) -> Iterator[Problem]:
    using = list(users(kind, request.name, state.services, tenancy))
    if using:
        message = (
            f"{kind.kind} {request.name}: {len(using)} InferenceServices use it ({some(using)}): the "
            f"deletion waits for them: {FIXES[kind.kind]}"
        )
        yield Problem(reasons.STILL_IN_USE, message)


def _with(request: Request, state: State) -> list[Mapping[str, Any]]:
    """Returns the Tenants as they are after the change."""
    others = [each for each in state.tenants if each["metadata"]["name"] != request.name]
    metadata = {"creationTimestamp": _NEWEST, **request.new["metadata"], "name": request.name}
    return [*others, {**request.new, "metadata": metadata}]


def _entitlements(pools: tuple[Any, ...], tenancy: Tenancy) -> Iterator[Problem]:
    """Yields the kinds of which all tenants together are entitled to more than the whole of a pool."""
    for index, own in enumerate(pools):
        for kind, quota in own.nominal_quota.by_kind().items():
            if quota.share is None:
                continue
            shares = {
                name: found.share
                for name, spec in tenancy.specs.items()
                for each in spec.pools
                if each.name == own.name
                and (found := each.nominal_quota.by_kind().get(kind)) is not None
                and found.share is not None
            }
            total = sum(shares.values())
            if total > 1 + 1e-9 and len(shares) > 1:
                message = (
                    f'spec.pools[{index}].nominalQuota.{kind}: "{quota}" and the shares of other '
                    "Tenants add up "
                    f"to {total:.0%} of DevicePool {own.name}: lower one of {some(list(shares))}, else all "
                    "shrink in proportion"
                )
                yield Problem(reasons.QUOTAS_EXCEED_POOL, message)


def _above(name: str, ceiling: int | None, tenancy: Tenancy, state: State) -> Iterator[Problem]:
    if ceiling is None:
        return
    above = [
        named(each)
        for each in state.services
        if _owner(tenancy, each) == name and (each["spec"].get("priority") or 0) > ceiling
    ]
    if above:
        message = (
            f'spec.priorityCeiling: "{ceiling}" is below the priority of {len(above)} InferenceServices '
            f"({some(above)}): against other tenants they count with {ceiling}"
        )
        yield Problem(reasons.PRIORITY_ABOVE_CEILING, message)


def _owner(tenancy: Tenancy, service: Mapping[str, Any]) -> str | None:
    return tenancy.owners.get(service["metadata"].get("namespace") or "")
