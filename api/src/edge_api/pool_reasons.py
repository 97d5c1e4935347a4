"""Reasons of the conditions of a DevicePool."""

from typing import Final

from edge_api.reason_registry import (
    NOTHING,
    OBJECT_IN_USE,
    POOL_CERTIFICATES,
    POOL_READY,
    POOL_UNITS,
    TENANT_READY,
    WAIT,
    registered,
)

NODES_FOUND: Final = registered("NodesFound", (POOL_READY,), "Every selector selects a node.", NOTHING)
OVERLAPPING: Final = registered(
    "Overlapping",
    (POOL_READY, TENANT_READY),
    "Older DevicePools select some of its nodes, or older Tenants some of the namespaces, and keep them.",
    "Change selectors or labels, so that each node is in one pool and each namespace in one tenant.",
)
ISSUED: Final = registered(
    "Issued",
    (POOL_CERTIFICATES,),
    "The operator, the model store and the runtimes of the pool's services have certificates that are not "
    "due for renewal.",
    NOTHING,
)
ISSUING_FAILED: Final = registered(
    "IssuingFailed",
    (POOL_CERTIFICATES,),
    "The operator cannot issue or renew a certificate. The one before is used until it expires; pods without "
    "one wait for their Secret.",
    "Fix what the message says about the Secret: its name is used by something else, a quota, a permission. "
    "It is retried.",
)
UNITS_INSTALLED: Final = registered(
    "UnitsInstalled",
    (POOL_UNITS,),
    "Each node of the groups with survivesReboot has the unit of the current version.",
    NOTHING,
)
UNITS_INSTALLING: Final = registered(
    "UnitsInstalling",
    (POOL_UNITS,),
    "Jobs install the unit on the nodes that the message names. A node that is not Ready has its turn later.",
    WAIT,
)
UNITS_NOT_INSTALLED: Final = registered(
    "UnitsNotInstalled",
    (POOL_UNITS,),
    "Nodes lack the unit of the current version, for the reasons in the message: they serve after a reboot "
    "only once Kubernetes has started their pods.",
    "Do what the message says. It is retried every 5 minutes.",
)
USED_BY_SERVICES: Final = registered(
    "UsedByServices",
    (OBJECT_IN_USE,),
    "The object is being deleted, and InferenceServices use it: it stays, and they are served as before, "
    "until the last of them is gone.",
    "Delete the services that the message names, or have them use another DevicePool or Tenant. To delete "
    "the object without waiting, remove its finalizer edge-intelligence.io/in-use.",
)
