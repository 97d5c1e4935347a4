"""Builds the Job that fetches a model with a Secret or from a volume, in its service's namespace. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_operator.cluster import Object
from edge_operator.names import FETCHER, ROLE_LABEL
from edge_operator.nodes.workloads import metadata, restricted_pod, runtime_container, show_token
from edge_operator.settings import Settings

_SECRET = "/var/run/secrets/edge-model-source"  # noqa: S105 - a folder
_VOLUME = "/mnt/model"
_TLS = "/etc/edge/tls"
_LONGEST = 6 * 3600
"""Seconds after which a Job has failed."""
_KEPT = 7200
"""Seconds for which a Job that ended is the record of its attempt: longer than any delay of the next."""


@dataclass(frozen=True, slots=True)
class FetchOrder:
    """A file to fetch.

    Attributes:
        name: Of the Job.
        uri: Where the file is.
        stored_as: Its name in the model store.
        field: Of the manifest that names it, without `spec.`, for messages.
        digest: That it must have; empty: any.
        secret: Name of the Secret with credentials; empty: none.
        claim: Name of the claim with the file; empty: none.
        with_data: Whether it is an ONNX file, whose external data comes along.
    """

    name: str
    uri: str
    stored_as: str
    field: str
    digest: str = ""
    secret: str = ""
    claim: str = ""
    with_data: bool = False


def fetch_account(service: Object, order: FetchOrder) -> Object:
    """Returns the ServiceAccount whose token the model store knows the Job by. It has no other rights."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(service, order.name),
        "automountServiceAccountToken": False,
    }


def fetch_job(
    service: Object, order: FetchOrder, settings: Settings, annotations: Mapping[str, str], authority: str
) -> Object:
    """Returns the Job. annotations: of the attempt. authority: PEM of the CA of the store's certificate."""
    container = runtime_container("fetcher", _arguments(order, settings), settings)
    container["resources"] = dict(settings.fetching.resources)
    # The pod's status then has the error that the Job ended with.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    pod = restricted_pod(container, "", settings) | {"serviceAccountName": order.name}
    if not order.claim:
        pod["nodeSelector"] = dict(settings.fetching.node_selector)
    if order.secret:
        container["envFrom"] = [{"secretRef": {"name": order.secret}}]
        # The kubelet reports a missing Secret of variables in the pod's status, that of a volume in events.
        volume = {"secretName": order.secret, "defaultMode": 0o440, "optional": True}
        _mount(container, pod, "secret", _SECRET, {"secret": volume})
    if order.claim:
        claim = {"claimName": order.claim, "readOnly": True}
        _mount(container, pod, "model", _VOLUME, {"persistentVolumeClaim": claim})
    if settings.tls_secret:
        container["args"] += ["--store-tls-dir", _TLS]
        _mount(
            container, pod, "tls", _TLS, {"secret": {"secretName": settings.tls_secret, "defaultMode": 0o440}}
        )
    elif authority:
        container["env"] = [{"name": "EDGE_STORE_CA", "value": authority}]
    if settings.store_token:
        show_token(container, pod)
    meta = _metadata(service, order.name)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta | {"annotations": dict(annotations)},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": _LONGEST,
            "ttlSecondsAfterFinished": _KEPT,
            "template": {
                "metadata": {"labels": meta["labels"]},
                "spec": pod | {"restartPolicy": "Never", "automountServiceAccountToken": False},
            },
        },
    }


def _arguments(order: FetchOrder, settings: Settings) -> list[str]:
    arguments = ["fetch", "--source", order.uri, "--field", order.field, "--name", order.stored_as]
    arguments += ["--store", settings.store_url]
    if order.digest:
        arguments += ["--digest", order.digest]
    if order.secret:
        arguments += ["--secret-dir", _SECRET]
    if order.claim:
        arguments += ["--volume", _VOLUME]
    if order.with_data:
        arguments.append("--with-data")
    arguments += [f"--allow-internal={place}" for place in settings.fetching.allow_internal]
    return arguments + [f"--plain-http={host}" for host in settings.fetching.plain_http]


def _metadata(service: Object, name: str) -> Object:
    meta = metadata(service, name)
    return meta | {"labels": meta["labels"] | {ROLE_LABEL: FETCHER}}


def _mount(container: Object, pod: Object, name: str, path: str, volume: Object) -> None:
    container["volumeMounts"].append({"name": name, "mountPath": path, "readOnly": True})
    pod["volumes"].append({"name": name, **volume})
