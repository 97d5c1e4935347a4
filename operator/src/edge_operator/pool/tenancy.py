"""Which tenant each namespace belongs to, and what the tenants of a pool are entitled to. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from edge_api import Tenant
from edge_api.quotas import Quota
from edge_api.tenants import DEFAULT, Quotas, StopPolicy, TenantSpec
from edge_api.validation_messages import sentences
from edge_operator.pool_nodes import meets
from edge_planning import sharing
from edge_planning.sharing import ResourceKind

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Tenancy:
    """The tenants of a cluster.

    Attributes:
        specs: Those that can be read, by name.
        owners: The tenant of each namespace that one selects.
        overlaps: Namespaces that a tenant selects but an older one has: the namespace and the older tenant.
        unreadable: What is wrong with the others, by name.
    """

    specs: Mapping[str, TenantSpec] = field(default_factory=lambda: _NONE)
    owners: Mapping[str, str] = field(default_factory=lambda: _NONE)
    overlaps: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=lambda: _NONE)
    unreadable: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)

    def __bool__(self) -> bool:
        """Whether there are tenants; without any, namespaces share pools with equal weight."""
        return bool(self.specs)

    def of(self, namespace: str) -> str:
        """Returns the tenant of a namespace."""
        return self.owners.get(namespace, DEFAULT)

    def namespaces(self, tenant: str) -> tuple[str, ...]:
        """Returns the namespaces that a tenant selects and has, sorted."""
        return tuple(sorted(name for name, owner in self.owners.items() if owner == tenant))

    def stop(self, namespace: str) -> StopPolicy:
        """Returns the stopPolicy of a namespace's tenant."""
        spec = self.specs.get(self.of(namespace))
        return "None" if spec is None else spec.stop_policy


NO_TENANTS = Tenancy()


def resolved(tenants: Iterable[Mapping[str, Any]], namespaces: Iterable[Mapping[str, Any]]) -> Tenancy:
    """Returns the tenant of each namespace, given the objects.

    A namespace that two tenants select belongs to the one that was created first; of two that were created in
    the same second, to the first by name.
    """
    specs, unreadable = dict[str, TenantSpec](), dict[str, tuple[str, ...]]()
    for body in sorted(tenants, key=_age):
        name = body["metadata"]["name"]
        try:
            specs[name] = Tenant.model_validate({**body, "status": None}).spec
        except ValidationError as error:
            unreadable[name] = tuple(sentences(Tenant, error))
    owners, overlaps = dict[str, str](), dict[str, list[tuple[str, str]]]()
    for namespace in sorted(namespaces, key=lambda one: str(one["metadata"]["name"])):
        name, labels = namespace["metadata"]["name"], namespace["metadata"].get("labels") or {}
        selecting = [tenant for tenant, spec in specs.items() if meets(labels, spec.namespace_selector)]
        if selecting:
            owners[name] = selecting[0]
        for other in selecting[1:]:
            overlaps.setdefault(other, []).append((name, selecting[0]))
    return Tenancy(specs, owners, {name: tuple(each) for name, each in overlaps.items()}, unreadable)


def _age(body: Mapping[str, Any]) -> tuple[str, str]:
    metadata = body["metadata"]
    return str(metadata.get("creationTimestamp") or ""), metadata["name"]


def pool_tenants(tenancy: Tenancy, pool: str, namespaces: Iterable[str]) -> tuple[sharing.Tenant, ...]:
    """Returns the tenants that share a pool: with quotas for it, or with services in it.

    namespaces: of the pool's services.
    """
    if not tenancy:
        return ()
    using = {tenancy.of(name) for name in namespaces}
    listed = {name for name, spec in tenancy.specs.items() if any(one.name == pool for one in spec.pools)}
    return tuple(_tenant(name, tenancy.specs.get(name), pool) for name in sorted(using | listed))


def _tenant(name: str, spec: TenantSpec | None, pool: str) -> sharing.Tenant:
    if spec is None:
        return sharing.Tenant(name)
    own = next((one for one in spec.pools if one.name == pool), None)
    return sharing.Tenant(
        name,
        float(spec.fair_sharing.weight),
        nominal={} if own is None else _quotas(own.nominal_quota),
        borrowing_limit={} if own is None else _quotas(own.borrowing_limit),
        lending_limit={} if own is None else _quotas(own.lending_limit),
        priority_ceiling=spec.priority_ceiling,
    )


def _quotas(quotas: Quotas) -> dict[ResourceKind, sharing.Quota]:
    return {ResourceKind(kind): _quota(quota) for kind, quota in quotas.by_kind().items()}


def _quota(quota: Quota) -> sharing.Quota:
    return sharing.Share(quota.share) if quota.share is not None else sharing.Amount(quota.amount or 0.0)
