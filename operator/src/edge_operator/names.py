"""Names and labels of the objects that the operator creates."""

import hashlib
import re
from collections.abc import Sequence

from edge_api import names

GROUP = "edge-intelligence.io"
API_VERSION = f"{GROUP}/v1alpha1"
FIELD_MANAGER = "edge-operator"
FINALIZER = f"{GROUP}/operator"

SERVICE_LABEL = names.SERVICE_LABEL
NODE_LABEL = names.NODE_LABEL
RUNTIME_LABEL = f"{GROUP}/runtime"
"""On a runtime's Deployment, pods and Service: its name. Their selectors have no other label."""
ISOLATION_LABEL = f"{GROUP}/isolation"
"""On a runtime's pods: which services it serves, by which the Services of InferenceServices select it."""
DEVICE_CLASS_LABEL = f"{GROUP}/device-class"
MODEL_LABEL = f"{GROUP}/model"
EXITS_ANNOTATION = f"{GROUP}/exits"
MARGINS_ANNOTATION = f"{GROUP}/planned-margins"
"""On a Placement: the margins by exit, in JSON, that its plan took from residuals."""
SOURCE_ANNOTATION = f"{GROUP}/source"
"""On a ModelProfile: a fingerprint of the spec.model that its metadata was made for."""
CUTS_ANNOTATION = f"{GROUP}/cuts-between"
"""On a ModelProfile: a fingerprint of the device classes between which cuts were searched."""
VALIDATION_ANNOTATION = f"{GROUP}/validation"
"""On a ModelProfile: a fingerprint of the validation data of all its accuracies."""
RTT_ANNOTATION = f"{GROUP}/planned-round-trip"
FORMER_TAILS_ANNOTATION = f"{GROUP}/former-tails"
"""On a Placement: the tails, in JSON, of the table that its runtime reported last."""
APPLIED_ANNOTATION = f"{GROUP}/applied"
"""On a runtime's Deployment: a fingerprint of what was applied, which shows also what is to be removed."""
ROLE_LABEL = "app.kubernetes.io/component"
MANAGED_BY = {"app.kubernetes.io/managed-by": "edge-intelligence"}
OURS = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
"""Selects the objects that the operator made."""
HOSTNAME_LABEL = "kubernetes.io/hostname"

_LABEL_LIMIT = 63
label_value = names.label_value


def dns_label(text: str) -> str:
    """Returns `text` as one DNS label: truncated with a hash if it does not fit."""
    label = re.sub(r"[^a-z0-9-]", "-", text.lower()).strip("-")
    if label != text or len(label) > _LABEL_LIMIT:
        label = f"{label[:52].rstrip('-')}-{_fingerprint(text)}"
    return label


def intermediate_slice_name(service: str, slices: Sequence[str]) -> str:
    """Returns the name of a slice at an intermediate node, by digest: entry nodes share equal slices."""
    return f"{service}-intermediate-{_fingerprint('+'.join(slices))}"


def profile_job_name(device_class: str, model_digest: str) -> str:
    """Returns the name of the Job for one model on one device class, which all services share."""
    return dns_label(f"profile-{device_class}-{model_digest.removeprefix('sha256:')[:12]}")


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
