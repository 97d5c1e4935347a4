"""Tenant: namespaces that share device pools as one, and what they are entitled to of each pool.

Names of fields are those of Kueue's ClusterQueue and fair sharing where the meaning is the same.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edge_api.objects import (
    AGE,
    Column,
    Conditions,
    KeyedBy,
    KubernetesObject,
    Part,
    Resource,
    StatusPart,
    condition_column,
)
from edge_api.quotas import Quota, Weight
from edge_api.rules import ObjectName, one_of_each
from edge_api.selectors import SELECTS_SOME, LabelSelector

DEFAULT = "default"
"""The tenant of the namespaces that no Tenant selects."""

StopPolicy = Literal["None", "Hold", "HoldAndDrain"]


class FairSharing(Part):
    """How the tenant compares with the others."""

    weight: Weight = Field(
        default=Weight(1),
        description="Weight relative to the other tenants of a pool, a number from 0 up such as 2, 0.5 or "
        "500m. It divides what no nominalQuota claims, and what is lent. 0: entitled to its nominalQuota "
        "alone, and served last from what is lent. Default: 1.",
    )


class Quotas(Part):
    """Quotas by kind of resource."""

    cpu: Quota | None = Field(
        default=None,
        description="Processors of the nodes: a percentage of every node, or cores over the pool such as 4 "
        "or 500m. Default: none.",
    )
    memory: Quota | None = Field(
        default=None,
        description="Memory of the nodes: a percentage of every node, or bytes over the pool such as 8Gi. "
        "Default: none.",
    )
    uplink: Quota | None = Field(
        default=None,
        description="Uplinks of the nodes: a percentage of every uplink, or bit/s over the pool such as 20M. "
        "Default: none.",
    )
    triton_time: Quota | None = Field(
        default=None,
        description="Compute time of the Triton servers: a percentage of every server, or seconds per second "
        "over the pool such as 500m. Default: none.",
    )
    triton_memory: Quota | None = Field(
        default=None,
        description="Memory of the Triton servers that declare it: a percentage of every server, or bytes "
        "over the pool such as 8Gi. Default: none.",
    )

    def by_kind(self) -> dict[str, Quota]:
        """Returns the quotas that are given, by kind of resource as in `kubectl`."""
        given = {alias.alias or name: getattr(self, name) for name, alias in type(self).model_fields.items()}
        return {kind: quota for kind, quota in given.items() if quota is not None}


class TenantPool(Part):
    """What the tenant is entitled to of one pool."""

    name: ObjectName = Field(description="Name of the DevicePool. Required.")
    nominal_quota: Quotas = Field(
        default=Quotas(),
        description="What the tenant is entitled to. An amount over the pool is the same share of each of "
        "its resources. If the quotas of a kind exceed the whole, they shrink in proportion. Default: for "
        "each kind, the weight over the sum of weights, of what the quotas of others leave.",
    )
    borrowing_limit: Quotas = Field(
        default=Quotas(),
        description="How much the tenant can use beyond its entitlement, from what is idle. Default: no "
        "limit.",
    )
    lending_limit: Quotas = Field(
        default=Quotas(),
        description="How much of the tenant's entitlement others can use while it is idle. Default: all of "
        "it.",
    )


class TenantSpec(Part):
    """Namespaces, and what they are entitled to."""

    namespace_selector: Annotated[LabelSelector, SELECTS_SOME] = Field(
        description="Labels of the namespaces whose services belong to the tenant. A namespace that two "
        "Tenants select belongs to the older one. Required."
    )
    fair_sharing: FairSharing = Field(
        default=FairSharing(),
        description="How the tenant compares with the others. Default: weight 1.",
    )
    pools: Annotated[
        tuple[TenantPool, ...], Field(max_length=32), one_of_each("name", "pools"), KeyedBy("name")
    ] = Field(
        default=(),
        description="Quotas by DevicePool, at most 32. Default: none, the weight gives the entitlement in "
        "every pool that services of the tenant use.",
    )
    priority_ceiling: Annotated[int, Field(strict=True, ge=-1000, le=1000)] | None = Field(
        default=None,
        description="Highest spec.priority of the tenant's services that counts against other tenants, from "
        "-1000 to 1000. Within the tenant, higher ones still count. The "
        "admission webhook refuses changes that raise a priority above it. Default: no limit.",
    )
    stop_policy: StopPolicy = Field(
        default="None",
        description="None: services are placed. Hold: no service gets routes at an entry node where it has "
        "none; the others keep serving and follow their plan. HoldAndDrain: in addition, the routes of all "
        "services of the tenant are removed, so that requests to them fail. Default: None.",
    )


class ResourceUse(StatusPart):
    """What the tenant has of one kind of resource, over the pool."""

    kind: str = Field(
        description="Kind of the resource, as in the quotas: cpu, memory, uplink, tritonTime or tritonMemory."
    )
    nominal: str = Field(description="Entitlement, in cores, bytes, bit/s or seconds per second.")
    used: str = Field(description="Amount that the services of the tenant use.")
    borrowed: str = Field(description="Part of it beyond the entitlement at single resources.")
    lent: str = Field(description="Part of the entitlement that other tenants use.")


class TenantPoolStatus(StatusPart):
    """What the tenant has of one pool."""

    name: str = Field(description="Name of the DevicePool.")
    resources: Annotated[tuple[ResourceUse, ...], KeyedBy("kind")] = Field(
        default=(), description="Amounts by kind of resource."
    )
    share: str = Field(
        default="0%", description="Dominant share: the largest part of any one resource that is used."
    )
    weighted_share: str = Field(
        default="0",
        description="Largest part of any one resource that is borrowed, over the weight; inf with weight 0. "
        "What is idle goes to the tenant with the lowest.",
    )
    services: int = Field(default=0, description="Number of services of the tenant that are planned.")
    stepped_down: int = Field(
        default=0, description="Number of services with routes of less worth than they would have alone."
    )
    refused: int = Field(default=0, description="Number of services that are refused at an entry node.")
    shortages: tuple[str, ...] = Field(
        default=(),
        description="What the services lack, such as `3 services at a lower exit: uplink of edge-b`, at "
        "most 16.",
    )


class TenantStatus(StatusPart):
    """Observed state of a tenant."""

    observed_generation: int = Field(
        default=0, description="The metadata.generation that this status describes."
    )
    conditions: Conditions = Field(
        default=(),
        description="Ready, Active, Satisfied, and InUse while it is being deleted, with a reason and a "
        "message.",
    )
    namespaces: int = Field(default=0, description="Number of namespaces that belong to the tenant.")
    share: str | None = Field(default=None, description="The largest share of a pool, such as 30%.")
    borrowed: str | None = Field(
        default=None, description="The largest part of any one resource that is borrowed, such as 12%."
    )
    stepped_down: int = Field(
        default=0, description="Number of services with routes of less worth than they would have alone."
    )
    refused: int = Field(default=0, description="Number of services that are refused at an entry node.")
    pools: Annotated[tuple[TenantPoolStatus, ...], KeyedBy("name")] = Field(
        default=(), description="What the tenant has of each pool."
    )


class Tenant(KubernetesObject):
    """Namespaces that share device pools as one, and what they are entitled to of each pool."""

    resource: ClassVar[Resource] = Resource(
        plural="tenants",
        short_names=("tn",),
        namespaced=False,
        columns=(
            Column("Weight", ".spec.fairSharing.weight", "Weight relative to the other tenants."),
            Column("Share", ".status.share", "Largest part of any one resource that is used."),
            Column("Borrowed", ".status.borrowed", "Largest part of any one resource that is borrowed."),
            Column(
                "Stepped Down",
                ".status.steppedDown",
                "Number of services with less than they would have alone.",
                "integer",
            ),
            Column("Refused", ".status.refused", "Number of refused services.", "integer"),
            condition_column("Reason", "Satisfied", "reason", "Reason of the Satisfied condition."),
            condition_column(
                "In Use", "InUse", "status", "True while it is being deleted and services still use it."
            ),
            AGE,
        ),
    )

    kind: Literal["Tenant"] = "Tenant"
    spec: TenantSpec = Field(
        description="The namespaces of the tenant, its weight, its quotas in each pool, and whether its "
        "services are placed. While there is no Tenant, pools are shared between namespaces of equal weight."
    )
    status: TenantStatus | None = Field(
        default=None,
        description="What the tenant uses, borrows and lends in each pool, and what its services lack. "
        "Written by the operator alone.",
    )
