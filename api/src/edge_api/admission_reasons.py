"""Why admission refuses an object at the API server, or accepts it with a warning."""

from typing import Final

from edge_api.reason_registry import ADMISSION, registered

PRIORITY_ABOVE_CEILING: Final = registered(
    "PriorityAboveCeiling",
    (ADMISSION,),
    "spec.priority is higher than spec.priorityCeiling of the Tenant. Refused if the change raises the "
    "priority, else a warning.",
    "Write a priority up to the ceiling, or raise spec.priorityCeiling of the Tenant.",
)
QUOTA_ADMITS_NOTHING: Final = registered(
    "QuotaAdmitsNothing",
    (ADMISSION,),
    "The Tenant has a quota of 0 of a resource that the service needs, and may borrow none. Refused if the "
    "service is new or changes its pool or mode, else a warning.",
    "Raise nominalQuota or borrowingLimit of the Tenant in that pool, or choose another pool or mode.",
)
QUOTA_USED_UP: Final = registered(
    "QuotaUsedUp",
    (ADMISSION,),
    "Warning: services of the Tenant use all of a quota of the pool: the new service takes from them, or "
    "is refused by the plan.",
    "Raise nominalQuota or borrowingLimit of the Tenant in that pool, or remove services.",
)
MODEL_NOT_SHARED: Final = registered(
    "ModelNotShared",
    (ADMISSION,),
    "A file:// address is in no shared folder of the model store, so that its namespace cannot read it.",
    "Upload the file for the namespace and write its store:// address, or add the folder to "
    "store.sharedFolders of the chart.",
)
FETCHING_DISABLED: Final = registered(
    "FetchingDisabled",
    (ADMISSION,),
    "The address needs a Job in the namespace, which store.fetching.enabled of the chart turns off.",
    "Upload the file and write its store:// address, or set store.fetching.enabled.",
)
UNKNOWN_POOL: Final = registered(
    "UnknownPool",
    (ADMISSION,),
    "Warning: the DevicePool does not exist yet.",
    "Apply the DevicePool, or write the name of one that exists.",
)
TENANT_STOPPED: Final = registered(
    "TenantStopped",
    (ADMISSION,),
    "Warning: spec.stopPolicy of the Tenant keeps the service from getting routes.",
    "Set spec.stopPolicy of the Tenant to None.",
)
PORT_IN_USE: Final = registered(
    "PortInUse",
    (ADMISSION,),
    "Warning: another InferenceService has the same port of the nodes. Kubernetes gives it to one of them.",
    "Write another port, or leave it out.",
)
NAMESPACE_OF_OLDER_TENANT: Final = registered(
    "NamespaceOfOlderTenant",
    (ADMISSION,),
    "Warning: spec.namespaceSelector selects a namespace that belongs to an older Tenant.",
    "Change the selector of one of the two Tenants.",
)
QUOTAS_EXCEED_POOL: Final = registered(
    "QuotasExceedPool",
    (ADMISSION,),
    "Warning: the shares that Tenants are entitled to exceed the pool. They shrink in proportion.",
    "Lower nominalQuota of one of the Tenants.",
)
STILL_IN_USE: Final = registered(
    "StillInUse",
    (ADMISSION,),
    "Warning: InferenceServices use the object that is being deleted. The deletion waits for them.",
    "Delete these services, or have them use another DevicePool or Tenant.",
)
POOL_ENDS: Final = registered(
    "PoolEnds",
    (ADMISSION,),
    "A new service, or a new spec.devicePool, names a DevicePool that is being deleted.",
    "Use another DevicePool, or create this one again once it is gone.",
)
