"""Names and labels of the objects that the operator creates."""

import hashlib
import json
import re
from collections.abc import Sequence

GROUP = "edge-intelligence.io"
API_VERSION = f"{GROUP}/v1alpha1"
FIELD_MANAGER = "edge-operator"
FINALIZER = f"{GROUP}/operator"

SERVICE_LABEL = f"{GROUP}/service"
NODE_LABEL = f"{GROUP}/node"
POOL_LABEL = f"{GROUP}/pool"
"""On a Placement: the DevicePool of its service."""
DEVICE_CLASS_LABEL = f"{GROUP}/device-class"
SELECTION_LABEL = f"{GROUP}/selection"
"""On a profiling Job: the pool and the selectors of its device class."""
MODEL_LABEL = f"{GROUP}/model"
EXITS_ANNOTATION = f"{GROUP}/exits"
"""On a profiling Job: the outputs of the exits that it measures, in JSON."""
CIRCUMSTANCES_ANNOTATION = f"{GROUP}/measured-with"
"""On a profiling Job: a fingerprint of its image, its resources and the nodes that it could run on."""
ATTEMPT_ANNOTATION = f"{GROUP}/attempt"
FAILURE_ANNOTATION = f"{GROUP}/last-failure"
"""On a profiling Job: why the attempt before it failed."""
MARGINS_ANNOTATION = f"{GROUP}/planned-margins"
"""On a Placement: the margins by exit, in JSON, that its plan took from residuals."""
SOURCE_ANNOTATION = f"{GROUP}/source"
"""On a ModelProfile: a fingerprint of the spec.model that its metadata was made for."""
CUTS_ANNOTATION = f"{GROUP}/cuts-between"
"""On a ModelProfile: a fingerprint of the device classes between which cuts were searched."""
VALIDATION_ANNOTATION = f"{GROUP}/validation"
"""On a ModelProfile: a fingerprint of the validation data of all its accuracies."""
RTT_ANNOTATION = f"{GROUP}/planned-round-trip"
"""On a Placement of an earlier version: what spec.link.roundTrip says now."""
FORMER_TAILS_ANNOTATION = f"{GROUP}/former-tails"
"""On a Placement: the tails, in JSON, of the table that its runtime reported last."""
ROLE_LABEL = "app.kubernetes.io/component"
MANAGED_BY = {"app.kubernetes.io/managed-by": "edge-intelligence"}
HOSTNAME_LABEL = "kubernetes.io/hostname"

_LABEL_LIMIT = 63
_NAME_LIMIT = 240
"""Kubernetes appends a suffix to a Deployment's name for its ReplicaSets: at most 253 characters."""


def label_value(text: str) -> str:
    """Returns `text` as a label value: unchanged if it fits, else truncated with a hash."""
    if len(text) <= _LABEL_LIMIT:
        return text
    return f"{text[:52].rstrip('-_.')}-{_fingerprint(text)}"


def dns_label(text: str) -> str:
    """Returns `text` as the name of a Service, one DNS label: truncated with a hash if it does not fit."""
    label = re.sub(r"[^a-z0-9-]", "-", text.lower()).strip("-")
    if label != text or len(label) > _LABEL_LIMIT:
        label = f"{label[:52].rstrip('-')}-{_fingerprint(text)}"
    return label


def entry_name(service: str, node: str) -> str:
    """Returns the name of the Placement and the Deployment of one service at one entry node.

    A node's name can be as long as any object's: a name that does not fit is truncated with a hash.
    """
    name = f"{service}-{node}"
    return name if len(name) <= _NAME_LIMIT else f"{name[:200].rstrip('-.')}-{_fingerprint(name)}"


def entry_service_name(service: str, node: str) -> str:
    """Returns the name of the Service of exactly one entry node."""
    return dns_label(f"{service}-{node}")


def intermediate_slice_name(service: str, slices: Sequence[str]) -> str:
    """Returns the name of a slice at an intermediate node, by digest: entry nodes share equal slices."""
    return f"{service}-intermediate-{_fingerprint('+'.join(slices))}"


def selection_name(pool: str, selectors: Sequence[str]) -> str:
    """Returns a label value for the nodes that a pool selects for a device class: its name with a hash."""
    return f"{pool[:52].rstrip('-.')}-{_fingerprint(json.dumps([pool, *selectors]))}"


def profile_job_name(device_class: str, selection: str, model_digest: str) -> str:
    """Returns the name of the Job for one model on one device class of a pool, which all services share."""
    short = f"{model_digest.removeprefix('sha256:')[:12]}-{selection.rpartition('-')[-1]}"
    return dns_label(f"profile-{device_class}-{short}")


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
