"""The only caller of the API server besides kopf's watches: reads, server-side apply, status, events."""

import datetime
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import kubernetes.client
import kubernetes.config
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from edge_operator import refusals
from edge_operator.errors import (
    ApiUnreachableError,
    ClusterError,
    ObjectRefusedError,
    PermissionDeniedError,
    WriteConflictError,
)
from edge_operator.events import EventCounts, new_event
from edge_operator.names import API_VERSION, FIELD_MANAGER

Object = dict[str, Any]
_READ_TIMEOUT = (5.0, 30.0)
WRITE = 7.0
"""Seconds that a write takes at most, from connecting to the response: the API server drops it then. No write
begins unless the Lease outlasts them."""
_CONNECTIONS = 32
"""Connections that are kept: more than the threads that call at once."""
_PAGE = 500
_OTHER_UID = "metadata.uid: Invalid value"
"""What API servers say of a patch with the uid of another object than the one of that name."""


class Kind(NamedTuple):
    """Path of a kind in the Kubernetes API."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True


INFERENCE_SERVICES = Kind(API_VERSION, "InferenceService", "inferenceservices")
DEVICE_POOLS = Kind(API_VERSION, "DevicePool", "devicepools", namespaced=False)
TENANTS = Kind(API_VERSION, "Tenant", "tenants", namespaced=False)
MODEL_PROFILES = Kind(API_VERSION, "ModelProfile", "modelprofiles")
PLACEMENTS = Kind(API_VERSION, "Placement", "placements")
NAMESPACES = Kind("v1", "Namespace", "namespaces", namespaced=False)
NODES = Kind("v1", "Node", "nodes", namespaced=False)
PODS = Kind("v1", "Pod", "pods")
SERVICES = Kind("v1", "Service", "services")
SERVICE_ACCOUNTS = Kind("v1", "ServiceAccount", "serviceaccounts")
SECRETS = Kind("v1", "Secret", "secrets")
EVENTS = Kind("v1", "Event", "events")
CONFIG_MAPS = Kind("v1", "ConfigMap", "configmaps")
DEPLOYMENTS = Kind("apps/v1", "Deployment", "deployments")
JOBS = Kind("batch/v1", "Job", "jobs")
LEASES = Kind("coordination.k8s.io/v1", "Lease", "leases")
ROLES = Kind("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDINGS = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
NETWORK_POLICIES = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
CRDS = Kind(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
ADMISSION_POLICIES = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    namespaced=False,
)
WEBHOOKS = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)

KINDS = {
    kind.kind: kind
    for kind in (
        INFERENCE_SERVICES, DEVICE_POOLS, MODEL_PROFILES, PLACEMENTS, NAMESPACES, NODES, PODS, SERVICES,
        SERVICE_ACCOUNTS, SECRETS, CONFIG_MAPS, EVENTS, DEPLOYMENTS, JOBS, LEASES, ROLES, ROLE_BINDINGS,
        TENANTS, NETWORK_POLICIES, WEBHOOKS,
    )
}  # fmt: skip


class Cluster(Protocol):
    """The API server as a reconcile uses it."""

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None: ...
    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]: ...
    def fetch(self, kind: Kind, namespace: str | None, name: str) -> Object | None: ...
    def apply(self, wanted: Object, seen: Object | None = None, *, unchanged: bool = False) -> Object: ...
    def apply_status(self, kind: Kind, seen: Object, status: Object) -> Object | None: ...
    def set_finalizers(self, kind: Kind, current: Object, finalizers: list[str]) -> Object | None: ...
    def annotate(
        self, kind: Kind, current: Object, annotations: Mapping[str, str | None]
    ) -> Object | None: ...
    def resize(self, pod: Object, container: str, requests: Mapping[str, str]) -> Object | None: ...
    def delete(self, kind: Kind, namespace: str | None, name: str, seen: Object | None = None) -> None: ...
    def record(self, regarding: Object, event_type: str, reason: str, message: str) -> None: ...
    def version(self) -> tuple[int, int]: ...
    def serves(self, kind: Kind) -> bool: ...


class ApiServer:
    """`Cluster` over the official client. Blocking: call it off the event loop."""

    def __init__(
        self,
        client: kubernetes.client.ApiClient,
        may_write: Callable[[float], None] = lambda seconds: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        patience: float | None = None,
    ) -> None:
        """may_write: called before each write with the seconds that it can take; raises ClusterError if it
        must not begin. patience: seconds that each request takes at most; None: see `WRITE`.
        """
        self._client, self._may_write, self._clock = client, may_write, clock
        self._write_timeout = WRITE if patience is None else patience
        self._read_timeout: float | tuple[float, float] = _READ_TIMEOUT if patience is None else patience
        self._events, self._process = EventCounts(), secrets.token_hex(4)

    @classmethod
    def from_environment(cls) -> "ApiServer":
        """Uses the pod's ServiceAccount, else the kubeconfig. Raises ClusterError if there is neither."""
        return cls(client_from_environment())

    def fenced(self, may_write: Callable[[float], None]) -> "ApiServer":
        """Returns the same API server, with `may_write` called before each write."""
        return ApiServer(self._client, may_write)

    def within(self, seconds: float) -> "ApiServer":
        """Returns the same API server for requests that are given up after so many seconds."""
        return ApiServer(self._client, patience=seconds)

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """Returns the object, or None if it does not exist."""
        return self._call("GET", _path(kind, namespace, name), f"reading {_noun(kind, namespace, name)}")

    fetch = get

    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]:
        """Returns all objects of a kind, read page by page; empty if the kind is not installed."""
        items: list[Object] = []
        query = [("limit", str(_PAGE))] + ([("labelSelector", labels)] if labels else [])
        token = ""
        while True:
            page = self._call(
                "GET",
                _path(kind, namespace),
                f"listing {kind.plural}",
                query=[*query, ("continue", token)] if token else query,
            )
            if page is None:
                return items
            # The items of a list lack apiVersion and kind.
            items += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in page["items"]]
            token = page.get("metadata", {}).get("continue") or ""
            if not token:
                return items

    def apply(self, wanted: Object, seen: Object | None = None, *, unchanged: bool = False) -> Object:
        """Applies `wanted` on the server side, which removes fields that only an earlier apply has set.

        seen: the version that this was decided on; None if there was none. Raises WriteConflictError if the
        object changed since, is gone or was created again, and without `seen` if there is one with which it
        conflicts. unchanged: for `MirroredCluster`.
        """
        kind = KINDS[wanted["kind"]]
        metadata = wanted["metadata"] | (_identity(seen) if seen is not None else {})
        namespace, name = metadata.get("namespace"), metadata["name"]
        applied = self._call(
            "PATCH",
            _path(kind, namespace, name),
            f"applying {_noun(kind, namespace, name)}",
            query=[("fieldManager", FIELD_MANAGER), ("force", "false" if seen is None else "true")],
            body=wanted | {"metadata": metadata},
            content_type="application/apply-patch+yaml",
        )
        if applied is None:
            raise ObjectRefusedError(
                f"{_noun(kind, namespace, name)}: its namespace or CRD does not exist: create the namespace, "
                "or install the CRDs"
            )
        return applied

    def apply_status(self, kind: Kind, seen: Object, status: Object) -> Object | None:
        """Replaces the status as this operator's field manager, unless the object changed since it was seen.

        Returns the object, or None if it is gone. Raises WriteConflictError. The resourceVersion also tells
        objects of one name apart: the API server ignores the uid in a status of a custom resource.
        """
        namespace, name = seen["metadata"].get("namespace"), seen["metadata"]["name"]
        metadata = {"name": name} | ({"namespace": namespace} if kind.namespaced else {})
        metadata |= _identity(seen)
        return self._call(
            "PATCH",
            _path(kind, namespace, name, "status"),
            f"writing the status of {_noun(kind, namespace, name)}",
            query=[("fieldManager", FIELD_MANAGER), ("force", "true")],
            body={"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "status": status},
            content_type="application/apply-patch+yaml",
        )

    def set_finalizers(self, kind: Kind, current: Object, finalizers: list[str]) -> Object | None:
        """Replaces the finalizers, unless the object changed since it was read (WriteConflictError).

        Returns the object, or None if it is gone.
        """
        metadata = current["metadata"]
        return self._call(
            "PATCH",
            _path(kind, metadata.get("namespace"), metadata["name"]),
            f"setting the finalizers of {_noun(kind, metadata.get('namespace'), metadata['name'])}",
            query=[("fieldManager", FIELD_MANAGER)],
            body={"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}},
            content_type="application/merge-patch+json",
        )

    def annotate(self, kind: Kind, current: Object, annotations: Mapping[str, str | None]) -> Object | None:
        """Sets annotations beside those that `apply` sets. A value of None removes one.

        Returns the object, or None if it is gone. Raises WriteConflictError if it changed since `current`.
        """
        metadata = current["metadata"]
        return self._call(
            "PATCH",
            _path(kind, metadata.get("namespace"), metadata["name"]),
            f"annotating {_noun(kind, metadata.get('namespace'), metadata['name'])}",
            query=[("fieldManager", FIELD_MANAGER)],
            body={"metadata": _identity(current) | {"annotations": dict(annotations)}},
            content_type="application/merge-patch+json",
        )

    def resize(self, pod: Object, container: str, requests: Mapping[str, str]) -> Object | None:
        """Changes what a container of a running pod requests, without starting it again.

        Returns the pod, or None if it is gone or the API server cannot resize pods. Raises WriteConflictError
        if it changed since it was read.
        """
        metadata = pod["metadata"]
        resized = {"name": container, "resources": {"requests": dict(requests)}}
        return self._call(
            "PATCH",
            _path(PODS, metadata["namespace"], metadata["name"], "resize"),
            f"resizing {_noun(PODS, metadata['namespace'], metadata['name'])}",
            query=[("fieldManager", FIELD_MANAGER)],
            body={"metadata": _identity(pod), "spec": {"containers": [resized]}},
            content_type="application/strategic-merge-patch+json",
        )

    def create(self, body: Object) -> Object:
        """Creates an object. Raises WriteConflictError if it exists."""
        return self._written("POST", body, "")

    def replace(self, body: Object) -> Object:
        """Replaces an object, unless it changed since it was read (WriteConflictError)."""
        return self._written("PUT", body, body["metadata"]["name"])

    def _written(self, method: str, body: Object, name: str) -> Object:
        kind, namespace = KINDS[body["kind"]], body["metadata"].get("namespace")
        what = _noun(kind, namespace, body["metadata"]["name"])
        written = self._call(
            method,
            _path(kind, namespace, name),
            f"writing {what}",
            body=body,
            content_type="application/json",
        )
        if written is None:
            raise WriteConflictError(f"{what}: it, or its namespace, does not exist any more")
        return written

    def take_over(self, wanted: Object, current: Object, manager: str) -> None:
        """Gives an object the fields of `wanted`, and makes `manager` the only one that applied any of them.

        Server-side apply alone would keep fields that others set and `wanted` lacks, and would let later
        applies of `manager` conflict with them. current: as read; WriteConflictError if it changed since.
        """
        kind = CRDS
        name = wanted["metadata"]["name"]
        path, doing = _path(kind, None, name), f"taking over {_noun(kind, None, name)}"
        meta = current["metadata"] | {
            part: (current["metadata"].get(part) or {}) | (wanted["metadata"].get(part) or {})
            for part in ("labels", "annotations")
        }
        self._call(
            "PUT", path, doing, body=current | wanted | {"metadata": meta}, content_type="application/json"
        )
        applied = self._call(
            "PATCH",
            path,
            doing,
            query=[("fieldManager", manager), ("force", "true")],
            body=wanted,
            content_type="application/apply-patch+yaml",
        )
        if applied is None:
            raise WriteConflictError(f"{doing} failed: it does not exist any more")
        fields = applied["metadata"].get("managedFields") or []
        kept = [each for each in fields if each["operation"] == "Apply" or each.get("subresource")]
        self._call(
            "PATCH",
            path,
            doing,
            body={"metadata": _identity(applied) | {"managedFields": kept}},
            content_type="application/merge-patch+json",
        )

    def delete(self, kind: Kind, namespace: str | None, name: str, seen: Object | None = None) -> None:
        """Deletes the object and, in the background, its dependents; ignores an object that is gone.

        seen: the version that this was decided on; WriteConflictError if it changed since, or if another one
        of its name exists. None: any.
        """
        condition = {"preconditions": _identity(seen)} if seen is not None else {}
        self._call(
            "DELETE",
            _path(kind, namespace, name),
            f"deleting {_noun(kind, namespace, name)}",
            body={
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "propagationPolicy": "Background",
                **condition,
            },
            content_type="application/json",
        )

    def record(self, regarding: Object, event_type: str, reason: str, message: str) -> None:
        """Records an Event, which `kubectl describe` shows; counts repeated ones. Only logs a failure."""
        now = datetime.datetime.now(datetime.UTC)
        event = new_event(regarding, event_type, reason, message, now=now, process=self._process)
        count = self._events.count(event, self._clock())
        if count is None:
            return
        try:
            self._write_event(event, count)
        except ClusterError as error:
            logging.getLogger(__name__).warning("%s", error)

    def version(self) -> tuple[int, int]:
        """Returns the API server's major and minor version. Raises ClusterError."""
        found = self._call("GET", "/version", "reading the API server's version") or {}
        # A minor version can end in a plus sign.
        major, minor = (re.sub(r"\D.*", "", str(found.get(part, ""))) for part in ("major", "minor"))
        return int(major or 0), int(minor or 0)

    def serves(self, kind: Kind) -> bool:
        """Whether the API server has the kind, in its version. Raises ClusterError."""
        found = self._call("GET", f"/apis/{kind.api_version}", f"looking for the kind {kind.kind}") or {}
        return any(each.get("name") == kind.plural for each in found.get("resources") or ())

    def _write_event(self, event: Object, count: int) -> None:
        """Creates the Event, or raises the count of the one that this operator created before."""
        namespace, name = event["metadata"]["namespace"], event["metadata"]["name"]
        if count > 1:
            changes = {name: event[name] for name in ("message", "lastTimestamp")} | {"count": count}
            path, kind = _path(EVENTS, namespace, name), "application/merge-patch+json"
            if self._call("PATCH", path, "recording an event", body=changes, content_type=kind) is not None:
                return  # else it expired
        self._call(
            "POST",
            _path(EVENTS, namespace),
            "recording an event",
            body=event | {"count": count},
            content_type="application/json",
        )

    def _call(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        body: Mapping[str, Any] | None = None,
        content_type: str | None = None,
    ) -> Object | None:
        text = self._request(method, path, doing, query, body, content_type)
        return None if text is None else json.loads(text)

    def _request(
        self,
        method: str,
        path: str,
        doing: str,
        query: Iterable[tuple[str, str]],
        body: Mapping[str, Any] | None,
        content_type: str | None,
    ) -> str | None:
        writes = method != "GET"
        if writes:
            self._may_write(self._write_timeout)
            query = [*query, ("timeout", f"{self._write_timeout:g}s")]
        headers = {"Accept": "application/json, */*"} | (
            {"Content-Type": content_type} if content_type else {}
        )
        request = self._client.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self._client.call_api(
                *request, _request_timeout=self._write_timeout if writes else self._read_timeout
            )
            content: str = response.read().decode()  # type: ignore[no-untyped-call]
        except ApiException as error:
            raise ClusterError(f"{doing} failed: {error.reason}") from error
        except urllib3.exceptions.HTTPError as error:
            raise ApiUnreachableError(
                f"{doing} failed: no response from the API server ({_root(error)})"
            ) from error
        if response.status < 300:
            return content
        if response.status == 404:
            return None
        raise _refusal(response.status, doing, content)


def client_from_environment() -> kubernetes.client.ApiClient:
    """Returns a client with the pod's ServiceAccount, else with the kubeconfig.

    Raises ClusterError if there is neither.
    """
    configuration = kubernetes.client.Configuration()
    # Repeated by urllib3, a write would outlast the Lease; the queue repeats what failed.
    configuration.retries = False
    configuration.connection_pool_maxsize = _CONNECTIONS
    try:
        kubernetes.config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except kubernetes.config.ConfigException:
        try:
            kubernetes.config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except kubernetes.config.ConfigException as error:
            raise ClusterError(f"kubeconfig: {error}: set KUBECONFIG to the path of a kubeconfig") from error
    return kubernetes.client.ApiClient(configuration)


def _identity(seen: Object) -> dict[str, str]:
    """Returns the metadata by which a write is refused to another object, or to another version of it."""
    return {name: seen["metadata"][name] for name in ("uid", "resourceVersion")}


def _path(kind: Kind, namespace: str | None, name: str = "", subresource: str = "") -> str:
    root = "/api/" if "/" not in kind.api_version else "/apis/"
    scope = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    path = f"{root}{kind.api_version}{scope}/{kind.plural}"
    return "/".join(part for part in (path, name, subresource) if part)


def _noun(kind: Kind, namespace: str | None, name: str) -> str:
    return f"{kind.kind} {namespace}/{name}" if kind.namespaced else f"{kind.kind} {name}"


def _refusal(status: int, doing: str, content: str) -> ClusterError:
    try:
        said = json.loads(content).get("message") or content
    except (ValueError, AttributeError):
        said = content
    sentence = f"{doing} failed: {said.strip()[:600]}"
    if status == 409 or (status == 422 and _OTHER_UID in said):
        return WriteConflictError(sentence)
    if status in (401, 429) or (status >= 500 and not refusals.lasting(said)):
        return ApiUnreachableError(sentence)
    kind = PermissionDeniedError if refusals.no_permission(said) else ObjectRefusedError
    return kind(refusals.remedied(sentence))


def _root(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return _root(reason) if isinstance(reason, BaseException) else str(error)
