"""Gathers the state of a cluster that the checks of `ei doctor` are about. Only reads."""

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final

from cryptography import x509

from edge_api.generate import files
from edge_cli.connections import Connection
from edge_cli.doctor.kubernetes import INSTALLING
from edge_cli.doctor.probing import seen_servers
from edge_cli.doctor.rights import required
from edge_cli.doctor.states import (
    DEFINITIONS,
    EVERYWHERE,
    IN_OWN_NAMESPACES,
    CertificateSeen,
    ClusterState,
    Right,
)
from edge_cli.errors import CommandError
from edge_operator.authority.upkeep import OPERATOR_SECRET
from edge_operator.authority.webhook_trust import SECRET as ADMISSION_SECRET
from edge_operator.cluster import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    LEASES,
    NAMESPACES,
    SECRETS,
    Kind,
    Object,
)
from edge_operator.errors import ClusterError, OperatorError, PermissionDeniedError
from edge_operator.explaining.installed import SELECTOR, Installed
from edge_operator.leadership import NAME as LEASE
from edge_operator.pool_nodes import node_of
from edge_operator.tritons.tail_models import installation_identity

_NAMESPACE: Final = "edge-intelligence"
_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"
_LEASES_OF_NODES: Final = "kube-node-lease"
_REVIEWS: Final = "/apis/authorization.k8s.io/v1"


def gathered(here: Connection, *, before: bool = False) -> ClusterState:
    """Returns the state of the cluster, as far as this account can read it.

    before: only what matters before the chart is installed.
    """
    program = version("edge-cli")
    try:
        found = _version(here)
        server_time = here.server_time() if here.client is not None else None
    except (ClusterError, CommandError) as error:
        return ClusterState(here.now(), unreachable=str(error), program=program)
    now = server_time or here.now()
    namespace = _namespace(here)
    lists = _Lists(here, namespace)
    for kind in EVERYWHERE:
        lists.add(kind, None)
    clocks = {} if server_time is None else _clocks(here, lists, server_time)
    own_rights = dict(_own_rights(here)) if before else {}
    if before:
        return ClusterState(
            now,
            namespace,
            "",
            found,
            "",
            lists.objects,
            lists.hidden,
            {},
            own_rights,
            clocks=clocks,
            program=program,
        )
    lists.add_definitions()
    lists.add_named(LEASES, namespace, LEASE)
    own = {namespace, *(body["metadata"]["namespace"] for body in lists.of(INFERENCE_SERVICES))}
    for kind in IN_OWN_NAMESPACES:
        for each in sorted(own):
            lists.add(kind, each)
    scope = _scope(here)
    return ClusterState(
        now=now,
        namespace=namespace,
        installation=_installation(lists, namespace, scope),
        version=found,
        objects={kind: tuple(bodies) for kind, bodies in lists.objects.items()},
        hidden=lists.hidden,
        rights=dict(_rights(here, namespace, scope)),
        servers=tuple(seen_servers(here, lists.of_pools())),
        certificates=tuple(_certificates(here, namespace, own)),
        clocks=clocks,
        program=program,
    )


class _Lists:
    """The objects that were listed, and the kinds that could not be."""

    def __init__(self, here: Connection, namespace: str) -> None:
        self._here, self._namespace = here, namespace
        self.objects: dict[str, tuple[Object, ...]] = {}
        self.hidden: dict[str, str] = {}

    def add(self, kind: Kind, namespace: str | None) -> None:
        """Lists a kind in a namespace; None: in every one, or in that of the command if that is denied."""
        try:
            self._keep(kind, self._here.cluster.find(kind, namespace))
            return
        except PermissionDeniedError as error:
            if namespace is not None or not kind.namespaced:
                self.hidden[kind.kind] = str(error)
                return
        try:
            self._keep(kind, self._here.cluster.find(kind, self._here.namespace))
        except PermissionDeniedError as error:
            self.hidden[kind.kind] = str(error)

    def add_definitions(self) -> None:
        """Reads the CRDs of this API alone: those of others can be many and large."""
        try:
            for file in files():
                group, _, plural = file.removesuffix(".yaml").partition("_")
                body = self._here.cluster.get(DEFINITIONS, None, f"{plural}.{group}")
                self._keep(DEFINITIONS, [body] if body is not None else [])
        except PermissionDeniedError as error:
            self.hidden[DEFINITIONS.kind] = str(error)

    def add_named(self, kind: Kind, namespace: str, name: str) -> None:
        """Reads one object."""
        try:
            body = self._here.cluster.get(kind, namespace, name)
        except PermissionDeniedError as error:
            self.hidden[kind.kind] = str(error)
            return
        self._keep(kind, [{"kind": kind.kind, **body}] if body is not None else [])

    def of(self, kind: Kind) -> tuple[Object, ...]:
        return self.objects.get(kind.kind, ())

    def of_pools(self) -> tuple[Object, ...]:
        return self.objects.get("DevicePool", ())

    def _keep(self, kind: Kind, bodies: Iterable[Object]) -> None:
        self.objects[kind.kind] = (*self.objects.get(kind.kind, ()), *bodies)


def _version(here: Connection) -> tuple[int, int]:
    read = getattr(here.cluster, "version", None)
    found: tuple[int, int] = (0, 0) if read is None else read()
    return found


def _namespace(here: Connection) -> str:
    """Returns the operator's namespace: as it is set, else where its Deployment is, else the default."""
    if given := here.environment.get("EDGE_OPERATOR_NAMESPACE"):
        return given
    try:
        found = here.cluster.find(DEPLOYMENTS, None, SELECTOR)
    except ClusterError:
        return _NAMESPACE
    return str(found[0]["metadata"]["namespace"]) if found else _NAMESPACE


def _operator(here: Connection) -> Installed | None:
    try:
        return here.operator()
    except OperatorError:
        return None  # that it is missing is a finding of its own


def _scope(here: Connection) -> str | None:
    found = _operator(here)
    return None if found is None else found.scope


def _installation(lists: _Lists, namespace: str, scope: str | None) -> str:
    system = next((b for b in lists.of(NAMESPACES) if b["metadata"]["name"] == "kube-system"), None)
    uid = "" if system is None else system["metadata"].get("uid", "")
    return installation_identity(uid, namespace, scope) if uid else ""


def _rights(here: Connection, namespace: str, scope: str | None) -> Iterator[tuple[Right, bool]]:
    """Yields whether the operator's account has each right; nothing if this account cannot review that."""
    user = f"system:serviceaccount:{namespace}:edge-operator"
    for right in required(namespace, scope):
        allowed = _review(here, "SubjectAccessReview", right, user)
        if allowed is None:
            return
        yield right, allowed


def _own_rights(here: Connection) -> Iterator[tuple[Right, bool]]:
    for right in INSTALLING:
        allowed = _review(here, "SelfSubjectAccessReview", right, "")
        if allowed is None:
            return
        yield right, allowed


def _review(here: Connection, kind: str, right: Right, user: str) -> bool | None:
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": right.namespace,
        "name": right.name,
    }
    spec: dict[str, Any] = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
    if user:
        namespace = user.split(":")[2]
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
        spec |= {"user": user, "groups": groups}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    try:
        status: Mapping[str, Any] = here.create(f"{_REVIEWS}/{kind.lower()}s", body).get("status") or {}
    except CommandError:
        return None
    return bool(status.get("allowed"))


def _clocks(here: Connection, lists: _Lists, server_time: datetime.datetime) -> dict[str, float]:
    """Returns seconds ahead of the API server: of this machine, and of nodes by their Leases."""
    found = {"this machine": (here.now() - server_time).total_seconds()}
    alive = {node_of(body).name for body in lists.objects.get("Node", ()) if node_of(body).ready}
    try:
        leases = here.cluster.find(LEASES, _LEASES_OF_NODES)
        time = here.server_time() or server_time
    except (ClusterError, CommandError):
        return found
    for lease in leases:
        name, renewed = lease["metadata"]["name"], (lease.get("spec") or {}).get("renewTime")
        if name in alive and renewed:
            at = datetime.datetime.fromisoformat(str(renewed))
            found[f"node {name}"] = (at - time).total_seconds()
    return found


def _certificates(here: Connection, namespace: str, own: Iterable[str]) -> Iterator[CertificateSeen]:
    places = [(SECRETS, namespace, OPERATOR_SECRET), (SECRETS, namespace, "model-store-tls")]
    places += [(SECRETS, namespace, ADMISSION_SECRET)]
    places += [(SECRETS, each, "edge-runtime-tls") for each in sorted(own)]
    places += [(CONFIG_MAPS, namespace, "edge-ca")]
    for kind, where, name in places:
        try:
            body = here.cluster.get(kind, where, name)
        except ClusterError:
            continue
        if body is not None:
            yield from _in(body)


def _in(body: Object) -> Iterator[CertificateSeen]:
    import base64
    import binascii

    for key in ("tls.crt", "ca.crt"):
        text = (body.get("data") or {}).get(key, "")
        if not text or (key == "ca.crt" and body["kind"] == "Secret"):
            continue
        try:
            pem = text.encode() if re.match(_CERTIFICATE, text) else base64.b64decode(text)
            read = x509.load_pem_x509_certificates(pem)
        except (ValueError, binascii.Error):
            continue
        where = f"{body['kind']} {body['metadata']['namespace']}/{body['metadata']['name']}, {key}"
        for each in read[:1]:
            yield CertificateSeen(where, each.not_valid_before_utc, each.not_valid_after_utc)
