"""Names and labels of the objects that the operator creates."""

import hashlib
import json
import re
from collections.abc import Sequence

from edge_api import names

GROUP = "edge-intelligence.io"
API_VERSION = f"{GROUP}/v1alpha1"
FIELD_MANAGER = "edge-operator"
FINALIZER = f"{GROUP}/operator"
"""Of InferenceServices, whose tails it unloads first."""
IN_USE_FINALIZER = f"{GROUP}/in-use"
"""Of DevicePools and Tenants, which stay until no service uses them."""

SERVICE_LABEL = names.SERVICE_LABEL
NODE_LABEL = names.NODE_LABEL
RUNTIME_LABEL = f"{GROUP}/runtime"
"""On a runtime's Deployment, pods and Service: its name. Their selectors have no other label."""
ISOLATION_LABEL = names.ISOLATION_LABEL
"""On Placements, and on runtimes' pods, which the Services of InferenceServices select by it."""
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
FACTOR_ANNOTATION = f"{GROUP}/compute-factor"
"""Of a Placement: by which factor compute takes longer there than on other nodes of its class."""
MARGINS_ANNOTATION = f"{GROUP}/planned-margins"
"""On a Placement: the margins by exit, in JSON, that its plan took from residuals."""
RATE_ANNOTATION = f"{GROUP}/planned-rate"
"""On a Placement: the measured rate that it was planned for, in JSON, and what that was derived from."""
DEMAND_ANNOTATION = f"{GROUP}/planned-for"
"""On a Placement: a fingerprint of what its table was planned for."""
UNIT_NODE_ANNOTATION = f"{GROUP}/unit-node"
"""On a Job that installs or removes the unit of a node: the name of the node."""
UNFIT_ANNOTATION = f"{GROUP}/does-not-fit"
"""On a Placement: that the last plan has no room for it; its table is an earlier one."""
CPU_WEIGHT_ANNOTATION = f"{GROUP}/cpu-weight"
"""On a Placement: how much processor time its runtime requests, relative to the mean of its node. On a
runtime's Deployment: with which of these its pods start. 1 without it."""
SOURCE_ANNOTATION = f"{GROUP}/source"
"""On a ModelProfile: a fingerprint of the spec.model that its metadata was made for."""
CUTS_ANNOTATION = f"{GROUP}/cuts-between"
"""On a ModelProfile: a fingerprint of the device classes between which cuts were searched."""
VALIDATION_ANNOTATION = f"{GROUP}/validation"
"""On a ModelProfile: a fingerprint of the validation data of all its accuracies."""
RTT_ANNOTATION = f"{GROUP}/planned-round-trip"
"""On a Placement of an earlier version: what spec.link.roundTrip says now."""
SERVERS_ANNOTATION = f"{GROUP}/other-servers"
"""On a Placement: the Triton servers, in JSON, that its entry node used before."""
FORMER_TAILS_ANNOTATION = f"{GROUP}/former-tails"
"""On a Placement: the tails, in JSON, of the table that its runtime reported last."""
APPLIED_ANNOTATION = f"{GROUP}/applied"
"""On a runtime's Deployment: a fingerprint of what was applied, which shows also what is to be removed."""
ROLE_LABEL = "app.kubernetes.io/component"
MANAGED_BY = {"app.kubernetes.io/managed-by": "edge-intelligence"}
OURS = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
"""Selects the objects that the operator made."""
UNIT_JOB = "host-unit"
"""Value of ROLE_LABEL on the Jobs that install and remove units of nodes, and on their pods."""
FETCHER = "fetcher"
"""Value of ROLE_LABEL on the Jobs that fetch models, on their pods and on their ServiceAccounts."""
HOSTNAME_LABEL = "kubernetes.io/hostname"
VERSION_ANNOTATION = f"{GROUP}/runtime-version"
"""On a runtime's Deployment: the version of its pod, in JSON, and how services fare with it."""
FORMER_VERSION_ANNOTATION = f"{GROUP}/former-runtime-version"
"""On a runtime's Deployment: the version before, in JSON, which is applied again if services fare worse."""

_LABEL_LIMIT = 63
label_value = names.label_value


def dns_label(text: str) -> str:
    """Returns `text` as one DNS label: truncated with a hash if it does not fit."""
    label = re.sub(r"[^a-z0-9-]", "-", text.lower()).strip("-")
    if label != text or len(label) > _LABEL_LIMIT:
        label = f"{label[:52].rstrip('-')}-{_fingerprint(text)}"
    return label


def intermediate_slice_name(service: str, beyond: Sequence[str]) -> str:
    """Returns the name of a slice at an intermediate node: entry nodes share equal ones.

    beyond: the digests of the slice and of those after it, and where these run if that differs.
    """
    return f"{service}-intermediate-{_fingerprint('+'.join(beyond))}"


def selection_name(pool: str, selectors: Sequence[str]) -> str:
    """Returns a label value for the nodes that a pool selects for a device class: its name with a hash."""
    return f"{pool[:52].rstrip('-.')}-{_fingerprint(json.dumps([pool, *selectors]))}"


def model_label(digest: str) -> str:
    """Returns the value of MODEL_LABEL for a model."""
    return digest.removeprefix("sha256:")[:12]


def profile_job_name(device_class: str, selection: str, model_digest: str) -> str:
    """Returns the name of the Job for one model on one device class of a pool, which all services share."""
    short = f"{model_digest.removeprefix('sha256:')[:12]}-{selection.rpartition('-')[-1]}"
    return dns_label(f"profile-{device_class}-{short}")


def unit_job_name(action: str, node: str) -> str:
    """Returns the name of the Job that installs or removes the unit of a node."""
    return dns_label(f"{action}-unit-{node}")


def fetch_name(service: str, source: Sequence[str]) -> str:
    """Returns the name of the Job that fetches a file for a service, and of its ServiceAccount.

    source: what the file depends on. The name is never that of a runtime's account.
    """
    return dns_label(
        f"fetch-{service[:40].rstrip('-.')}-{_fingerprint(json.dumps(source))}".replace(".", "-")
    )


def fetched_address(source: Sequence[str], file_name: str) -> str:
    """Returns the address under which the model store has a fetched file of a namespace."""
    return f"store://fetched/{_fingerprint(json.dumps(source))}/{file_name}"


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def in_use_finalizer(scope: str | None) -> str:
    """Returns the finalizer of pools and tenants. scope: the only namespace that is watched; None: all.

    Operators of single namespaces have one each: none of them sees the services of the others.
    """
    return f"{scope}.{IN_USE_FINALIZER}" if scope else IN_USE_FINALIZER
