"""The conditions of a status, and what registers their reasons (`edge_api.reasons`)."""

from dataclasses import dataclass
from typing import Final, Literal

ConditionType = Literal[
    "Ready",
    "Progressing",
    "Degraded",
    "ModelReady",
    "Profiled",
    "Planned",
    "Placed",
    "SLOMet",
    "Idle",
    "RolledOut",
    "RuntimesUpdated",
    "ControlOpen",
    "CertificatesIssued",
    "SurvivesReboot",
    "InUse",
    "Active",
    "Satisfied",
]

READY: Final = "Ready"
PROGRESSING: Final = "Progressing"
DEGRADED: Final = "Degraded"
MODEL_READY: Final = "ModelReady"
PROFILED: Final = "Profiled"
PLANNED: Final = "Planned"
PLACED: Final = "Placed"
SLO_MET: Final = "SLOMet"
IDLE: Final = "Idle"
"""Of services with spec.scaling.idleAfter alone: whether all entry nodes have let go of the model."""
ROLLED_OUT: Final = "RolledOut"
RUNTIMES_UPDATED: Final = "RuntimesUpdated"
"""Of services whose runtimes got or are to get another version since the service exists."""
CONTROL_OPEN: Final = "ControlOpen"
"""Of a DevicePool alone: whether a Triton server accepts model control from everyone who reaches it."""
CERTIFICATES_ISSUED: Final = "CertificatesIssued"
"""Of a DevicePool alone: whether the operator can issue and renew the certificates of its services."""
SURVIVES_REBOOT: Final = "SurvivesReboot"
"""Of a DevicePool alone: whether the nodes of groups with survivesReboot have the unit."""
IN_USE: Final = "InUse"
"""Of a DevicePool or a Tenant that is being deleted alone: whether services still use it."""
ACTIVE: Final = "Active"
"""Of a Tenant alone: whether services of the tenant are placed."""
SATISFIED: Final = "Satisfied"
"""Of a Tenant alone: whether all services of the tenant have what they would have alone."""

CONDITIONS: Final[dict[ConditionType, str]] = {
    READY: "At least spec.minReadyEntries entry nodes answer requests. For a DevicePool: every selector "
    "selects a node, and every selected node belongs to the pool.",
    PROGRESSING: "A model is being measured, or runtimes are starting or loading new routes.",
    DEGRADED: "Some entry nodes do not answer, or answer by an earlier plan.",
    MODEL_READY: "The model store has the model and found its exits and cuts.",
    PROFILED: "The model is measured on every device class that the plan needs.",
    PLANNED: "Every entry node has a route table.",
    PLACED: "Slices are cut, tails are loaded into Triton, and route tables are published.",
    SLO_MET: "At least the share spec.slo.objective of requests met spec.slo.latency in the last 5 minutes.",
    IDLE: "No entry node has the model loaded, since no request came for spec.scaling.idleAfter. Services "
    "without that field do not have this condition.",
    ROLLED_OUT: "Entry nodes serve spec.model, and no earlier revision of the model.",
    RUNTIMES_UPDATED: "The runtimes of all entry nodes have the installed version. Services have this "
    "condition from the first new version on.",
}
"""What it means that a condition is True."""

POOL_READY: Final = "Ready (DevicePool)"
POOL_CONTROL: Final = "ControlOpen (DevicePool)"
POOL_CERTIFICATES: Final = "CertificatesIssued (DevicePool)"
POOL_UNITS: Final = "SurvivesReboot (DevicePool)"
OBJECT_IN_USE: Final = "InUse (DevicePool, Tenant)"
TENANT_READY: Final = "Ready (Tenant)"
TENANT_ACTIVE: Final = "Active (Tenant)"
TENANT_SATISFIED: Final = "Satisfied (Tenant)"
EVENT: Final = "event only"
ADMISSION: Final = "admission only"
"""A refusal or a warning at the API server, before the object is stored."""
OTHER_KINDS: Final = (
    POOL_READY, POOL_CONTROL, POOL_CERTIFICATES, POOL_UNITS, OBJECT_IN_USE, TENANT_READY,
    TENANT_ACTIVE, TENANT_SATISFIED,
)  # fmt: skip
"""Conditions of kinds other than InferenceService."""

NOTHING: Final = "Nothing."
WAIT: Final = "Wait: it is retried."
"""What to do about a reason."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason: with which conditions it occurs, what it means, what to do about it."""

    name: str
    where: tuple[str, ...]
    meaning: str
    fix: str


REASONS: Final[dict[str, Reason]] = {}
"""Every reason by its name."""


def registered(name: str, where: tuple[str, ...], meaning: str, fix: str) -> str:
    """Returns the name of a reason, which REASONS lists from then on."""
    REASONS[name] = Reason(name, where, meaning, fix)
    return name


def known(reason: str | None, otherwise: str) -> str:
    """A reason that another process gave, or `otherwise` where this version does not know it."""
    return reason if reason in REASONS else otherwise
