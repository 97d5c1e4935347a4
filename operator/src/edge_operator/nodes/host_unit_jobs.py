"""Builds the Jobs that install and remove the unit by which a node survives a reboot. Pure.

They are the only pods of the project with rights on a node: they write the host's files. Their image and
arguments depend on the settings of the installation alone, not on fields of a DevicePool, so that who writes
DevicePools gets no rights on nodes.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Final, Literal

from edge_operator.cluster import Object
from edge_operator.names import (
    APPLIED_ANNOTATION,
    HOSTNAME_LABEL,
    MANAGED_BY,
    NODE_LABEL,
    ROLE_LABEL,
    UNIT_JOB,
    UNIT_NODE_ANNOTATION,
    label_value,
    unit_job_name,
)
from edge_operator.nodes.tolerations import ALWAYS
from edge_operator.settings import Settings

UnitAction = Literal["install", "remove"]
_HOST: Final = "/host"
_LONGEST: Final = 900
"""Seconds after which a Job has failed."""


def unit_job(
    action: UnitAction, node: str, hostname: str, settings: Settings, tolerations: Sequence[Object] = ()
) -> Object:
    """Returns the Job. It stays after its end: that of an installation records that the node has the unit.

    tolerations: of the node's group.
    """
    arguments = [f"{action}-unit", "--host", _HOST]
    if action == "install":
        arguments += ["--", "serve-node", "--kubelet-dir", settings.kubelet_dir]
    labels = {ROLE_LABEL: UNIT_JOB, NODE_LABEL: label_value(node), **MANAGED_BY}
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {HOSTNAME_LABEL: hostname},
        "tolerations": [*ALWAYS, *tolerations],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [
            {
                "name": UNIT_JOB,
                "image": settings.runtime_image,
                "imagePullPolicy": settings.pull_policy,
                "command": ["edge-runtime"],
                "args": arguments,
                "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
                "securityContext": {"privileged": True, "runAsUser": 0, "readOnlyRootFilesystem": True},
                # The pod's status then has the error that the Job ended with.
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [{"name": "host", "mountPath": _HOST}],
            }
        ],
        "volumes": [{"name": "host", "hostPath": {"path": "/", "type": "Directory"}}],
    }
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    spec = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": _LONGEST,
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    applied = hashlib.sha256(json.dumps([settings.runtime_image, arguments]).encode()).hexdigest()[:16]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": unit_job_name(action, node),
            "namespace": settings.namespace,
            "labels": labels,
            "annotations": {UNIT_NODE_ANNOTATION: node, APPLIED_ANNOTATION: applied},
        },
        "spec": spec,
    }


def action_of(job: Object) -> UnitAction:
    """Returns what a Job does to the unit."""
    removes = str(job["metadata"]["name"]).startswith("remove-")
    return "remove" if removes else "install"


def node_of_job(job: Object) -> str:
    """Returns the node of a Job."""
    return str((job["metadata"].get("annotations") or {}).get(UNIT_NODE_ANNOTATION, ""))


def same_version(live: Object, wanted: Object) -> bool:
    """Whether a Job installs what the wanted one does."""
    found, goal = ((job["metadata"].get("annotations") or {}) for job in (live, wanted))
    return bool(found.get(APPLIED_ANNOTATION) == goal[APPLIED_ANNOTATION])
