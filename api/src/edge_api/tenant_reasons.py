"""The reasons of the conditions of a Tenant, and of services that a Tenant stops."""

from typing import Final

from edge_api.reason_registry import (
    EVENT,
    NOTHING,
    PLANNED,
    TENANT_ACTIVE,
    TENANT_READY,
    TENANT_SATISFIED,
    registered,
)

TENANT_HELD: Final = registered(
    "TenantHeld",
    (PLANNED,),
    "The tenant of the namespace has stopPolicy Hold: services get no routes where they have none. Published "
    "routes keep serving.",
    "Set spec.stopPolicy of the Tenant that the message names to None.",
)
TENANT_DRAINED: Final = registered(
    "TenantDrained",
    (PLANNED,),
    "The tenant of the namespace has stopPolicy HoldAndDrain: its services have no routes; requests fail.",
    "Set spec.stopPolicy of the Tenant that the message names to None.",
)
NAMESPACES_FOUND: Final = registered(
    "NamespacesFound", (TENANT_READY,), "The tenant has the namespaces that it selects.", NOTHING
)
NO_NAMESPACES: Final = registered(
    "NoNamespaces",
    (TENANT_READY,),
    "No namespace belongs to the tenant.",
    "Label a namespace, or change spec.namespaceSelector.",
)
PLACING: Final = registered(
    "Placing", (TENANT_ACTIVE,), "Services of the tenant are placed as their plan says.", NOTHING
)
HELD: Final = registered(
    "Held",
    (TENANT_ACTIVE,),
    "spec.stopPolicy is Hold: services get no routes where they have none. Published routes keep serving.",
    "Set spec.stopPolicy to None.",
)
DRAINED: Final = registered(
    "Drained",
    (TENANT_ACTIVE,),
    "spec.stopPolicy is HoldAndDrain: the services of the tenant have no routes, and requests fail.",
    "Set spec.stopPolicy to None.",
)
ALL_SERVED: Final = registered(
    "AllServed",
    (TENANT_SATISFIED, EVENT),
    "Every service of the tenant has what it would have alone. An event has it if that was not so before.",
    NOTHING,
)
STEPPED_DOWN: Final = registered(
    "SteppedDown",
    (TENANT_SATISFIED, EVENT),
    "Services of the tenant use a lower exit or a worse route than they would alone, because of what the "
    "message names.",
    "Raise the quota of the tenant or what the message names, or lower rates of its services.",
)
SERVICES_REFUSED: Final = registered(
    "ServicesRefused",
    (TENANT_SATISFIED, EVENT),
    "Services of the tenant have no routes at an entry node, because of what the message names.",
    "Raise the quota of the tenant or what the message names, or remove services.",
)
RECLAIMED: Final = registered(
    "Reclaimed",
    (EVENT,),
    "The tenant uses capacity again that other tenants had borrowed from it.",
    NOTHING,
)
