"""Checks of what the chart installs. Pure."""

import datetime
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import yaml

from edge_api.generate import files
from edge_cli.doctor.findings import Check, Found, at
from edge_cli.doctor.states import (
    CLAIMS,
    DEFINITIONS,
    STORAGE_CLASSES,
    ClusterState,
    condition_of,
    labels,
)
from edge_operator.cluster import DEPLOYMENTS, EVENTS, LEASES, Object
from edge_operator.leadership import NAME as LEASE
from edge_operator.pool.pod_troubles import deployment_trouble

OPERATOR: Final = "edge-operator"
STORE: Final = "model-store"
_VERSION: Final = "app.kubernetes.io/version"
_NEAR_END: Final = datetime.timedelta(days=3)
_CLOCKS: Final = datetime.timedelta(seconds=15)
"""By how much the clock of the holder of a Lease can differ; see `kubernetes.SKEW`."""
_NAMED: Final = 3
"""Fields that a sentence names; the others are counted."""
Schema = Mapping[str, Any]


def fields_of(schema: Schema, path: str = "") -> frozenset[str]:
    """Returns the paths of all fields in an OpenAPI schema; `[]` stands for the items of a list."""
    found: set[str] = set()
    for name, each in (schema.get("properties") or {}).items():
        here = f"{path}.{name}" if path else name
        found |= {here, *fields_of(each, here)}
    if isinstance(schema.get("items"), dict):
        found |= fields_of(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        found |= fields_of(schema["additionalProperties"], f"{path}.*")
    return frozenset(found)


@cache
def expected_fields() -> Mapping[str, frozenset[str]]:
    """Returns the fields of each kind of this version, by the name of its CRD."""
    bodies = [yaml.safe_load(text) for text in files().values()]
    return {body["metadata"]["name"]: _fields(body) for body in bodies}


def _fields(definition: Object) -> frozenset[str]:
    versions = definition["spec"]["versions"]
    return frozenset().union(
        *(fields_of((each.get("schema") or {}).get("openAPIV3Schema") or {}) for each in versions)
    )


def _definitions(state: ClusterState) -> dict[str, Object]:
    return {body["metadata"]["name"]: body for body in state.of(DEFINITIONS)}


def _missing_kinds(state: ClusterState) -> Iterator[Found]:
    found = _definitions(state)
    for name in sorted(expected_fields()):
        if name not in found:
            yield Found(f"CustomResourceDefinition {name}: does not exist")
        elif (established := condition_of(found[name], "Established")).get("status") != "True":
            yield at(
                found[name], f"is not established: {established.get('message', 'no condition says why')}"
            )


def _older_kinds(state: ClusterState) -> Iterator[Found]:
    found = _definitions(state)
    for name, fields in sorted(expected_fields().items()):
        if name in found and (missing := sorted(fields - _fields(found[name]))):
            # Of a field that is missing, its own fields say nothing more.
            tops = [each for each in missing if not any(each.startswith(f"{m}.") for m in missing)]
            more = f" and {len(tops) - _NAMED} more" if len(tops) > _NAMED else ""
            said = f"is older than version {state.program}: it lacks {', '.join(tops[:_NAMED])}{more}"
            yield at(found[name], said)


def _operator(state: ClusterState) -> Object | None:
    found = [body for body in state.of(DEPLOYMENTS) if labels(body).get("app.kubernetes.io/name") == OPERATOR]
    return next(iter(found), None)


def _no_operator(state: ClusterState) -> Iterator[Found]:
    body = _operator(state)
    if body is None:
        yield Found(
            f"Deployment: none has the label app.kubernetes.io/name={OPERATOR}",
            "Install the chart with helm.",
        )
    else:
        yield from _not_ready(body)


def _not_ready(body: Object) -> Iterator[Found]:
    wanted = body["spec"].get("replicas", 1)
    ready = (body.get("status") or {}).get("readyReplicas") or 0
    if wanted == 0:
        yield at(body, "has no replicas", "Scale it to at least one replica.")
    elif ready == 0:
        trouble = deployment_trouble(body) or condition_of(body, "Available").get("message", "")
        yield at(body, f"no pod is ready{f': {trouble}' if trouble else ''}")


def _fewer_replicas(state: ClusterState) -> Iterator[Found]:
    body = _operator(state)
    wanted = 0 if body is None else body["spec"].get("replicas", 1)
    ready = 0 if body is None else (body.get("status") or {}).get("readyReplicas") or 0
    if body is not None and 0 < ready < wanted:
        trouble = deployment_trouble(body) or condition_of(body, "Progressing").get("message", "")
        yield at(body, f"{ready} of {wanted} replicas are ready{f': {trouble}' if trouble else ''}")


def _no_leader(state: ClusterState) -> Iterator[Found]:
    body = _operator(state)
    if body is None or not (body.get("status") or {}).get("readyReplicas"):
        return  # that it does not run is a finding of its own
    lease = state.named(LEASES, state.namespace, LEASE)
    if lease is None:
        yield Found(f"Lease {state.namespace}/{LEASE}: does not exist")
        return
    spec = lease.get("spec") or {}
    holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime")
    lasts = datetime.timedelta(seconds=int(spec.get("leaseDurationSeconds") or 0)) + _CLOCKS
    if not holder:
        yield at(lease, "no replica of the operator holds it")
    elif renewed and (age := state.now - datetime.datetime.fromisoformat(str(renewed))) > lasts:
        said = f"{holder} renewed it {age.total_seconds():.0f} s ago, and no other replica took it"
        yield at(lease, said)


def _other_version(state: ClusterState) -> Iterator[Found]:
    body = _operator(state)
    version = "" if body is None else labels(body).get(_VERSION, "")
    if body is not None and version and state.program and version != state.program:
        yield at(body, f"is of version {version}, and this program of {state.program}")


def _no_rights(state: ClusterState) -> Iterator[Found]:
    for right, allowed in sorted(state.rights.items()):
        if not allowed:
            yield Found(f"ServiceAccount {state.namespace}/{OPERATOR}: has no right to {right}")


def _store(state: ClusterState) -> Object | None:
    return state.named(DEPLOYMENTS, state.namespace, STORE)


def _no_store(state: ClusterState) -> Iterator[Found]:
    body = _store(state)
    if body is not None:
        yield from _not_ready(body)
    elif _operator(state) is not None:
        yield Found(f"Deployment {state.namespace}/{STORE}: does not exist", "Install the chart with helm.")


def _pending(state: ClusterState) -> Iterator[Found]:
    store = _store(state)
    volumes = [] if store is None else store["spec"]["template"]["spec"].get("volumes") or []
    for volume in volumes:
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if not name:
            continue
        claim = state.named(CLAIMS, state.namespace, name)
        if claim is None:
            yield Found(f"PersistentVolumeClaim {state.namespace}/{name}: does not exist")
        elif (phase := (claim.get("status") or {}).get("phase")) != "Bound":
            yield at(claim, f"is {phase or 'Pending'}{_cause(state, claim)}")


def _cause(state: ClusterState, claim: Object) -> str:
    said = [
        str(event.get("message"))
        for event in state.of(EVENTS)
        if (event.get("involvedObject") or {}).get("uid") == claim["metadata"].get("uid")
        and event.get("message")
    ]
    if said:
        return f": {said[-1]}"
    wanted = claim["spec"].get("storageClassName")
    there = sorted(body["metadata"]["name"] for body in state.of(STORAGE_CLASSES))
    if wanted and wanted not in there:
        return f': its StorageClass "{wanted}" does not exist, there are {", ".join(there) or "none"}'
    return "" if wanted else ": it names no StorageClass"


def _expired(state: ClusterState) -> Iterator[Found]:
    for each in state.certificates:
        if each.expires <= state.now:
            yield Found(f"{each.where}: the certificate expired on {each.expires:%Y-%m-%d %H:%M} UTC")
        elif each.begins > state.now:
            yield Found(f"{each.where}: the certificate is valid from {each.begins:%Y-%m-%d %H:%M} UTC")


def _near_end(state: ClusterState) -> Iterator[Found]:
    for each in state.certificates:
        life = each.expires - each.begins
        if state.now < each.expires < state.now + min(_NEAR_END, life / 5):
            yield Found(f"{each.where}: the certificate expires on {each.expires:%Y-%m-%d %H:%M} UTC")


def _no_certificates(state: ClusterState) -> str:
    return "" if state.certificates else "no certificates: TLS is off, or this account cannot read Secrets"


CHECKS: Final = (
    Check(
        "EI0201",
        "installation",
        "error",
        "the kinds of the API are installed",
        "The API server rejects manifests with these kinds.",
        "Install the chart, or apply crds/ of this version.",
        _missing_kinds,
        reads=(DEFINITIONS,),
    ),
    Check(
        "EI0202",
        "installation",
        "error",
        "the kinds have every field of this version",
        "The API server silently drops fields that a CRD does not have: plans cannot be stored.",
        "Apply crds/ of the operator's version: `kubectl apply --server-side -f crds/`.",
        _older_kinds,
        reads=(DEFINITIONS,),
    ),
    Check(
        "EI0203",
        "installation",
        "error",
        "the operator runs",
        "Entry nodes keep serving, but nothing is planned, measured or repaired.",
        "Read the events of its pods: `kubectl describe pods -l app.kubernetes.io/name=edge-operator -A`.",
        _no_operator,
        reads=(DEPLOYMENTS,),
    ),
    Check(
        "EI0204",
        "installation",
        "error",
        "the operator's account has every right that it needs",
        "The operator cannot write what it plans, and repeats it without success.",
        "Install the chart's roles again: `helm upgrade` with the same values.",
        _no_rights,
        skip=lambda state: "" if state.rights else "this account cannot review the rights of others",
    ),
    Check(
        "EI0205",
        "installation",
        "error",
        "the volume of the model store is bound",
        "The model store does not start: no model can be uploaded, measured or cut.",
        "Set store.persistence.storageClass of the chart to a class that exists, or provide a volume.",
        _pending,
        reads=(CLAIMS, DEPLOYMENTS),
    ),
    Check(
        "EI0206",
        "installation",
        "error",
        "the model store runs",
        "Entry nodes keep serving, but new models, slices and entry nodes wait.",
        "Read the events of its pods: `kubectl describe pods -l app.kubernetes.io/name=model-store -A`.",
        _no_store,
        reads=(DEPLOYMENTS,),
    ),
    Check(
        "EI0207",
        "installation",
        "error",
        "the certificates are valid",
        "Parts refuse each other's connections: hops fail, and slices are not loaded.",
        "Restart the operator, which issues a new one; with tls.mode Secrets, renew it yourself.",
        _expired,
        skip=_no_certificates,
    ),
    Check(
        "EI0208",
        "installation",
        "warning",
        "the certificates were renewed in time",
        "The operator renews certificates long before their end: one that is near it is not being renewed.",
        "Read the condition CertificatesIssued of the DevicePools, and the operator's log.",
        _near_end,
        skip=_no_certificates,
    ),
    Check(
        "EI0209",
        "installation",
        "warning",
        "this program is of the operator's version",
        "`ei explain`, `plan` and `what-if` plan by other functions than the operator.",
        "Install the version of edge-cli that the operator has.",
        _other_version,
        reads=(DEPLOYMENTS,),
    ),
    Check(
        "EI0210",
        "installation",
        "warning",
        "every replica of the operator is ready",
        "Without a standby, nothing is planned while a pod of the operator is rescheduled and starts.",
        "Read the events of its pods: `kubectl describe pods -l app.kubernetes.io/name=edge-operator -A`; "
        "set operator.spread or operator.replicas of the chart if there is no other node for one.",
        _fewer_replicas,
        reads=(DEPLOYMENTS,),
    ),
    Check(
        "EI0211",
        "installation",
        "error",
        "a replica of the operator leads",
        "Replicas run, but none writes: nothing is planned, measured or repaired.",
        "Read the logs of its pods; if the API server refuses the Lease, install the chart's roles again.",
        _no_leader,
        reads=(DEPLOYMENTS, LEASES),
    ),
)
