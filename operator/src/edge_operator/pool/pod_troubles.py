"""Why pods do not run, as Kubernetes reports it. Pure."""

from edge_operator.cluster import Object
from edge_operator.refusals import remedied, without_pod_names

_CANNOT_START = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
    }
)


def pod_trouble(pod: Object) -> str:
    """Returns why a pod does not run; empty if it runs."""
    waiting = _waiting(pod)
    if waiting:
        return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
    return ""


def cannot_start(pod: Object) -> bool:
    """Whether a pod does not start for a cause that has to be mended: its image, or its configuration."""
    return _waiting(pod).get("reason") in _CANNOT_START


def deployment_trouble(deployment: Object) -> str:
    """Returns why the API server refuses the pods of a Deployment; empty if it does not."""
    for condition in deployment.get("status", {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            meta = deployment["metadata"]
            said = remedied(without_pod_names(str(condition.get("message", ""))))
            return f"Deployment {meta['namespace']}/{meta['name']}: {said}"
    return ""


def _waiting(pod: Object) -> Object:
    for container in pod.get("status", {}).get("containerStatuses") or []:
        waiting: Object = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return waiting
    return {}
