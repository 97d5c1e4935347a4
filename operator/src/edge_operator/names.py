"""Names and labels of everything the operator makes."""

import hashlib
import re
from collections.abc import Sequence

GROUP = "edge-intelligence.io"
API_VERSION = f"{GROUP}/v1alpha1"
FIELD_MANAGER = "edge-operator"
FINALIZER = f"{GROUP}/operator"

SERVICE_LABEL = f"{GROUP}/service"
NODE_LABEL = f"{GROUP}/node"
DEVICE_CLASS_LABEL = f"{GROUP}/device-class"
MODEL_LABEL = f"{GROUP}/model"
EXITS_ANNOTATION = f"{GROUP}/exits"
RTT_ANNOTATION = f"{GROUP}/planned-round-trip"
ROLE_LABEL = "app.kubernetes.io/component"
MANAGED_BY = {"app.kubernetes.io/managed-by": "edge-intelligence"}
HOSTNAME_LABEL = "kubernetes.io/hostname"

_LABEL_LIMIT = 63
_NAME_LIMIT = 240
"""A Deployment adds to its name for its ReplicaSets, which may have 253 characters."""


def label_value(text: str) -> str:
    """`text` as a label value: itself when it fits, else cut and told apart by a hash."""
    if len(text) <= _LABEL_LIMIT:
        return text
    return f"{text[:52].rstrip('-_.')}-{_fingerprint(text)}"


def dns_label(text: str) -> str:
    """`text` as the name of a Service: one DNS label, cut and told apart by a hash where it does not fit."""
    label = re.sub(r"[^a-z0-9-]", "-", text.lower()).strip("-")
    if label != text or len(label) > _LABEL_LIMIT:
        label = f"{label[:52].rstrip('-')}-{_fingerprint(text)}"
    return label


def entry_name(service: str, node: str) -> str:
    """Placement and Deployment of one service at one entry node.

    A node's name may be as long as any object's: what does not fit is cut and told apart by a hash.
    """
    name = f"{service}-{node}"
    return name if len(name) <= _NAME_LIMIT else f"{name[:200].rstrip('-.')}-{_fingerprint(name)}"


def entry_service_name(service: str, node: str) -> str:
    """The Service that reaches exactly one entry node."""
    return dns_label(f"{service}-{node}")


def tail_name(namespace: str, service: str, slice_digest: str) -> str:
    """A tail's model name in Triton."""
    return f"{namespace}-{service}-{slice_digest.removeprefix('sha256:')[:12]}"


def relay_name(service: str, slices: Sequence[str]) -> str:
    """The model name of a relay at a helper: the same whoever asks it for the same slices, by digest."""
    return f"{service}-relay-{_fingerprint('+'.join(slices))}"


def is_tail_of(model: str, namespace: str, service: str) -> bool:
    """Whether `model` is named as a tail of this service would be.

    `a-b` + `c` and `a` + `b-c` share their names, so a caller that unloads looks at every Placement as well.
    """
    prefix = f"{namespace}-{service}-"
    return model.startswith(prefix) and re.fullmatch(r"[0-9a-f]{12}", model[len(prefix) :]) is not None


def profile_job_name(device_class: str, model_digest: str) -> str:
    """One Job for one model on one device class, whoever asks for it."""
    return dns_label(f"profile-{device_class}-{model_digest.removeprefix('sha256:')[:12]}")


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
