"""The revisions of a service's model: what is seen of them, and the objects that load and use them. Pure.

A candidate is an InferenceService that belongs to the service. It is created only once the status names it,
and the status names it until it is deleted, so that none is left behind.
"""

import datetime
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from edge_api import ModelProfile, Placement, reasons
from edge_api.earlier import in_this_version
from edge_api.inferenceservices import InferenceService
from edge_api.objects import Condition, written
from edge_api.placements import UNENCODED, PlacedCandidate
from edge_api.rollouts import ABORT_ANNOTATION, PROMOTE_ANNOTATION, REVISION_OF_LABEL, ModelStatus
from edge_api.tensors import Tensor
from edge_operator.cluster import Object
from edge_operator.conditions import Blocked, condition
from edge_operator.names import API_VERSION, APPLIED_ANNOTATION, label_value
from edge_operator.nodes.workloads import owner
from edge_operator.pool.published import readable
from edge_operator.pool.rollout_states import (
    Candidate,
    Decision,
    Seen,
    decide,
    is_same,
    planned_share,
    served_source,
)
from edge_operator.pool.states import RevisionState, ServiceState
from edge_operator.pool.surroundings import Surroundings, of_service
from edge_operator.pool_nodes import Node
from edge_operator.reading import read

_NEVER_LOADS: Final = frozenset(
    {
        reasons.BAD_PLACEMENT,
        reasons.DIGEST_MISMATCH,
        reasons.MODEL_FAILED,
        reasons.NOT_ONNX,
        reasons.TRIAL_CRASHED,
        reasons.TRIAL_HUNG,
        reasons.TRIAL_OVERRAN,
        reasons.UNKNOWN_TENSOR,
    }
)
"""Reasons of entry nodes that do not pass by themselves."""
_BAD_MODEL: Final = frozenset(
    {
        reasons.BAD_ACCURACY,
        reasons.BAD_EXITS,
        reasons.BAD_INPUTS,
        reasons.BAD_REQUEST,
        reasons.BAD_SAMPLES,
        reasons.DIGEST_MISMATCH,
        reasons.MODEL_FAILED,
        reasons.NO_EXITS,
        reasons.NOT_FOUND,
        reasons.NOT_ONNX,
        reasons.TOO_LARGE,
        reasons.UNKNOWN_OUTPUT,
        reasons.UNSUPPORTED_SCHEME,
    }
)
"""Likewise, of the condition ModelReady."""
_NOT_MEASURED: Final = frozenset({reasons.PROFILING_FAILED})
_NO_ROOM: Final = frozenset({reasons.DOES_NOT_FIT})


def is_candidate(body: Mapping[str, Any]) -> bool:
    """Whether an InferenceService is the candidate of another one."""
    return REVISION_OF_LABEL in (body["metadata"].get("labels") or {})


def decided(
    own: ServiceState,
    service: InferenceService,
    surroundings: Surroundings | Blocked,
    nodes: Iterable[Node],
    placements: Mapping[str, Placement],
    now: datetime.datetime,
) -> Decision | None:
    """Returns what to do about the revisions of a service; None for a candidate, which has none.

    nodes: of the cluster. placements: of this version, by node.
    """
    if is_candidate(own.body):
        return None
    before = service.status.rollout if service.status is not None else None
    served = served_source(before)
    if served is not None and is_same(service.spec.model, served):
        return decide(own.key.name, service.spec, before, Seen(candidate=_exists(own)), now)
    entries = _entries(service, surroundings, nodes)
    return decide(own.key.name, service.spec, before, seen(entries, own, service, placements), now)


def _exists(own: ServiceState) -> Candidate | None:
    return Candidate() if own.revision is not None else None


def _entries(
    service: InferenceService, surroundings: Surroundings | Blocked, nodes: Iterable[Node]
) -> frozenset[str]:
    """Returns the names of the entry nodes that are Ready; of all nodes, if the pool cannot be read."""
    if isinstance(surroundings, Blocked):
        return frozenset(node.name for node in nodes if node.ready)
    found = of_service(surroundings, service.spec).entries
    return frozenset(member.node.name for member in found if member.node.ready)


def planned_for(service: InferenceService, decision: Decision | None) -> InferenceService:
    """Returns the service with the model that its tables are planned for."""
    if decision is None or decision.source == service.spec.model:
        return service
    spec = service.spec.model_copy(update={"model": decision.source})
    return service.model_copy(update={"spec": spec})


def seen(
    entries: frozenset[str], own: ServiceState, service: InferenceService, placements: Mapping[str, Placement]
) -> Seen:
    """Returns what a roll-out is decided on. entries: the entry nodes that are Ready."""
    tables = {n: p for n, p in placements.items() if n in entries and not p.spec.refusal}
    known = service.status.model if service.status is not None else None
    found = condition(service.status.conditions if service.status is not None else (), reasons.SLO_MET)
    notes = service.metadata.annotations
    shadows = [p.status.shadow for p in tables.values() if p.status is not None and p.status.shadow]
    name = service.status.rollout.revision if service.status and service.status.rollout else None
    shadows = [each for each in shadows if each.candidate == name]
    return Seen(
        nodes=frozenset(tables),
        digest=known.digest if known is not None and resolves(service, known) else None,
        loaded=_loaded(tables),
        unusable=_unusable(tables),
        accuracy=_accuracy(own.profile),
        meets_slo=found is None or found.status != "False",
        candidate=_candidate(own.revision, tables) if own.revision is not None else None,
        compared=sum(each.compared for each in shadows),
        agreed=sum(each.agreed for each in shadows),
        promote=notes.get(PROMOTE_ANNOTATION, ""),
        abort=notes.get(ABORT_ANNOTATION, ""),
    )


def resolves(service: InferenceService, known: ModelStatus) -> bool:
    """Whether the digest in a status is that of spec.model."""
    model = service.spec.model
    return known.storage_uri == model.storage_uri and model.digest in (None, known.digest)


def _loaded(tables: Mapping[str, Placement]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for node, placement in tables.items():
        if placement.switched:
            found.setdefault(placement.spec.model.digest, set()).add(node)
    return {digest: frozenset(nodes) for digest, nodes in found.items()}


def _unusable(tables: Mapping[str, Placement]) -> dict[str, str]:
    """Returns why newest tables will never be loaded, by the digest of their model."""
    found: dict[str, str] = {}
    for node, placement in sorted(tables.items()):
        report = placement.status
        if report is None or report.loaded or report.reason not in _NEVER_LOADS:
            continue
        if report.observed_generation >= (placement.metadata.generation or 0):
            found.setdefault(placement.spec.model.digest, f"{node}: {report.reason}: {report.message}")
    return found


def _candidate(own: RevisionState, tables: Mapping[str, Placement]) -> Candidate:
    service = read(InferenceService, own.body)
    placements = {each.spec.node: each for each in readable(own.placements)}
    status = service.status
    model = status.model if status is not None else None
    digest = model.digest if model is not None and resolves(service, model) else None
    here = {n: p for n, p in placements.items() if p.spec.model.digest == digest}
    reports = [each.status for each in here.values() if each.status is not None]
    problems = [f"{r.reason}: {r.message}" for r in _false(service, reasons.MODEL_READY, _BAD_MODEL)]
    unusable = problems or list(_unusable(here).values())
    return Candidate(
        digest=digest,
        loaded=_loaded(here).get(digest or "", frozenset()),
        unusable=unusable[0] if unusable else "",
        unmeasured="; ".join(
            f"{each.reason}: {each.message}" for each in _false(service, reasons.PROFILED, _NOT_MEASURED)
        ),
        waits=_waits(service, tables.keys() - here.keys()),
        differs=_difference(here, tables),
        requests=sum(each.requests for each in reports),
        met=sum(each.met for each in reports),
        failed=sum(each.failed for each in reports),
        accuracy=_accuracy(own.profile),
        measured=service.spec.model.validation is None or _accuracy(own.profile) is not None,
    )


def _false(service: InferenceService, kind: str, only: frozenset[str]) -> list[Condition]:
    """Returns a condition of the present generation if it is False with one of some reasons."""
    found = service.status.conditions if service.status is not None else ()
    generation = service.metadata.generation
    return [
        each
        for each in found
        if each.type == kind
        and each.status == "False"
        and each.reason in only
        and each.observed_generation == generation
    ]


def _waits(service: InferenceService, lacking: Collection[str]) -> str:
    """Returns what a candidate waits for that has no routes at some nodes, or no room for its next share."""
    full = _false(service, reasons.PLANNED, _NO_ROOM)
    if not lacking and not full:
        return ""
    found = service.status.conditions if service.status is not None else ()
    steps = (reasons.MODEL_READY, reasons.PROFILED, reasons.PLANNED, reasons.PLACED)
    first = next((c for c in found if c.type in steps and c.status != "True"), None)
    if first is not None:
        return f"{first.type}: {first.message}"
    return f"it has no routes yet at {', '.join(sorted(lacking))}"


def _difference(here: Mapping[str, Placement], tables: Mapping[str, Placement]) -> str:
    """Returns the first inputs or outputs that differ between the two revisions."""
    for node in sorted(here.keys() & tables.keys()):
        new, old = here[node].spec.model, tables[node].spec.model
        for what, ours, theirs in (("inputs", new.inputs, old.inputs), ("outputs", new.outputs, old.outputs)):
            said = [[written(each) for each in tensors] for tensors in (ours, theirs)]
            if said[0] != said[1]:
                return f"{what}: the candidate has {_named(ours)}, and the current revision {_named(theirs)}"
    return ""


def _named(tensors: Iterable[Tensor]) -> str:
    return ", ".join(f"{each.name} {each.datatype} {list(each.shape)}" for each in tensors)


def _accuracy(profile: Object | None) -> float | None:
    """Returns the accuracy of the full model on the validation data, from a ModelProfile."""
    if profile is None:
        return None
    codecs = profile["spec"].get("codecs")
    if not codecs:
        return None
    spec = ModelProfile.model_validate(in_this_version(profile)).spec
    last = spec.model.exits[-1].name
    found = [each.accuracy for each in spec.codecs or () if each.exit == last and each.codec == UNENCODED]
    return float(found[0]) if found else None


def wanted(own: ServiceState, service: InferenceService, decision: Decision) -> Object | None:
    """Returns the InferenceService of the candidate; None without one.

    Its priority is below that of the service: if the pool cannot hold both, the current revision stays. A
    declared rate is that of its share of the requests, so that room for each step is there before it begins.
    """
    stored = service.status.rollout if service.status is not None else None
    if decision.beside is None or stored is None:
        return None
    spec = {k: v for k, v in own.body["spec"].items() if k not in ("rollout", "exposure")}
    spec["priority"] = max(service.spec.priority - 1, -1000)
    if (declared := service.spec.planned_rate) > 0:
        rate = float(f"{declared * planned_share(service.spec.rollout, decision.status) / 100:.6g}")
        spec["load"] = {**spec.get("load", {}), "rate": rate}
        spec["slo"] = {k: v for k, v in spec["slo"].items() if k != "throughput"}
    metadata = own.body["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": "InferenceService",
        "metadata": {
            "name": stored.revision,
            "namespace": metadata["namespace"],
            "labels": {REVISION_OF_LABEL: label_value(metadata["name"])},
            "annotations": {APPLIED_ANNOTATION: _fingerprint(spec)},
            "ownerReferences": [owner(own.body)],
        },
        "spec": spec,
    }


def is_over(service: InferenceService, decision: Decision) -> bool:
    """Whether the candidate that the stored status names is to be deleted.

    It is deleted before another one is stored. What follows from observations is stored before that.
    """
    stored, status = service.status.rollout if service.status is not None else None, decision.status
    if stored is None or status is None:
        return False
    replaced = status.phase != "Stable" and stored.revision != status.revision
    in_place = service.spec.rollout is None and status.phase == "Loading"
    return replaced or in_place or stored.phase in ("Stable", "Returned")


def _fingerprint(spec: Object) -> str:
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def with_candidate(
    tables: Iterable[Placement], decision: Decision | None, revision: RevisionState | None
) -> tuple[Placement, ...]:
    """Returns the tables with the candidate's share of the requests."""
    found = _placed(decision, revision)
    return tuple(
        each
        if each.spec.candidate == found
        else each.model_copy(update={"spec": each.spec.model_copy(update={"candidate": found})})
        for each in tables
    )


def _placed(decision: Decision | None, revision: RevisionState | None) -> PlacedCandidate | None:
    digest = resolved_digest(revision)
    if decision is None or decision.beside is None or revision is None or digest is None:
        return None
    if not (decision.weight or decision.shadow):
        return None
    name = revision.body["metadata"]["name"]
    return PlacedCandidate(service=name, digest=digest, weight=decision.weight, shadow=decision.shadow)


def resolved_digest(revision: RevisionState | None) -> str | None:
    """Returns the digest of a candidate's model; None until its address is resolved."""
    status = (revision.body.get("status") or {}) if revision is not None else {}
    found: str | None = (status.get("model") or {}).get("digest")
    return found
