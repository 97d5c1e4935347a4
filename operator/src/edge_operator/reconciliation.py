"""The order of a reconcile: model, profiles, plan, tails, objects, status.

A step that fails returns a Blocked with its reason; later steps are skipped, so active routes do not change.
Everything is derived from what the API server, the store and Triton report; Memory only saves work.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence

from pydantic import ValidationError

from edge_api import DevicePool, ModelProfile, Placement, reasons
from edge_api.inferenceservices import InferenceService, ModelSource, ModelStatus
from edge_api.modelprofiles import ModelProfileSpec
from edge_api.objects import written
from edge_api.validation_messages import sentences
from edge_operator import (
    liveness,
    manifests,
    metrics,
    placing,
    planning,
    pools,
    profiling,
    recorded,
    removal,
    reporting,
)
from edge_operator.branches import with_branch_cuts
from edge_operator.cluster import (
    INFERENCE_SERVICES,
    MODEL_PROFILES,
    SERVICES,
    covers,
)
from edge_operator.conditions import STEPS, Blocked, Finding
from edge_operator.errors import ObjectRefusedError, StoreError
from edge_operator.names import FINALIZER
from edge_operator.pools import Node
from edge_operator.published import published
from edge_operator.reading import read
from edge_operator.remedies import explained
from edge_operator.runs import NOTHING, Clients, Clock, Memory, Run, RuntimeFindings, ServiceKey
from edge_operator.runtimes import published_isolation
from edge_operator.settings import Settings
from edge_operator.status import Observation
from edge_operator.store import CodecAccuracies, DeviceProfile, ModelCard
from edge_operator.surroundings import surroundings, unfit
from edge_operator.workloads import metadata, service_url
from edge_planning.errors import PlanningError

MEASURING = 5.0
"""Seconds between two requests for accuracies that the store is measuring."""


def reconcile_service(
    key: ServiceKey,
    clients: Clients,
    settings: Settings,
    memory: Memory,
    clock: Clock,
    scope: str | None = None,
    *,
    runtimes: RuntimeFindings = NOTHING,
) -> float | None:
    """Reconciles one service.

    Returns the seconds until the next reconcile, or None if the service is gone. scope: the only namespace
    that the operator can read, or None for all. runtimes: what the namespace's last reconcile found. Raises
    ClusterError if a request to the API server fails.
    """
    clients = dataclasses.replace(clients, store=clients.store.of(key.namespace))
    memory.blocked = None
    body = clients.cluster.get(INFERENCE_SERVICES, key.namespace, key.name)
    if body is None:
        return None
    if body["metadata"].get("deletionTimestamp"):
        with reporting.refusals_recorded(clients, body, memory):
            return removal.remove_service(
                key, body, clients, memory, clock.monotonic(), scope=scope, owner=settings.installation
            )
    try:
        service = read(InferenceService, body)
    except ValidationError as error:
        reporting.report_unreadable(key, clients, clock, body, sentences(InferenceService, error))
        return placing.RESYNC
    current, former = published(clients.cluster, *key)
    client_service = clients.cluster.get(SERVICES, key.namespace, key.name)
    isolation = published_isolation(service.spec.isolation, client_service, placed=bool(current))
    run = Run(
        key, clients, settings, memory, clock, body, service, current, isolation, former, runtimes, scope
    )
    outcome = _outcome(run)
    blocked = outcome if isinstance(outcome, Blocked) else None
    again = outcome.again if isinstance(outcome, Blocked) else outcome
    if blocked is not None and blocked.reason == reasons.NOT_FOUND:
        # The store has lost a slice: its metadata and slices are requested again.
        memory.card, memory.recorded, memory.slices = None, False, {}
    memory.blocked = blocked
    memory.waiting = run.unmeasured is not None or (blocked is not None and blocked.step == reasons.PROFILED)
    if blocked is not None:
        metrics.BLOCKED.labels(blocked.step, blocked.reason).inc()
    serving = _serving(run)
    alive = liveness.alive(clients.cluster, key.namespace, serving)
    observation = Observation(
        members=run.members,
        model=run.resolved,
        placements=_of_entries(run, serving),
        steps=tuple(run.findings),
        blocked=blocked,
        url=service_url(key.name, key.namespace, settings.runtime_scheme, settings.cluster_domain),
        pods=reporting.pod_troubles(clients, run.members, run.placements, alive),
        alive=alive,
        infeasible=run.infeasible,
    )
    return min(
        again, reporting.report(key, clients, memory, clock, body=body, service=service, seen=observation)
    )


def _serving(run: Run) -> dict[str, Placement]:
    """Returns the Placements by which the service is judged.

    While a node's runtime has not loaded its first table, the pod of an earlier version serves there.
    """
    serving = dict(run.placements)
    for node, former in run.former.items():
        if node not in serving or not serving[node].loaded:
            serving[node] = former
    return serving


def _of_entries(run: Run, serving: Mapping[str, Placement]) -> dict[str, Placement]:
    """Returns the Placements of entry nodes."""
    names = {member.node.name for member in run.members}
    return {node: placement for node, placement in serving.items() if not names or node in names}


def _outcome(run: Run) -> Blocked | float:
    """Runs the steps. What the API server refuses, or planning cannot use, blocks the step that met it."""
    try:
        return _steps(run)
    except ObjectRefusedError as error:
        done = {finding.type for finding in run.findings}
        step = next(step for step in STEPS if step not in done or step == reasons.PLACED)
        return Blocked(step, reasons.OBJECT_REFUSED, str(error))
    except PlanningError as error:
        return Blocked(reasons.PLANNED, *explained(error, run.key.name, run.service.spec.device_pool))


def _steps(run: Run) -> Blocked | float:
    finalizers = run.body["metadata"].get("finalizers") or []
    if FINALIZER not in finalizers:
        run.clients.cluster.set_finalizers(INFERENCE_SERVICES, run.body, [*finalizers, FINALIZER])
    card = _model(run)
    if isinstance(card, Blocked):
        return card
    surroundings = _surroundings(run)
    if isinstance(surroundings, Blocked):
        return surroundings
    pool, nodes = surroundings
    found = _accuracies(run, card)
    if isinstance(found, Blocked):
        return found
    profiled = _profiles(run, card, pool, nodes, found)
    if isinstance(profiled, Blocked):
        return profiled
    card, costs = profiled
    again = _placed(run, card, pool, costs, found)
    if run.unmeasured is not None and not isinstance(again, Blocked):
        again = min(again, run.unmeasured.again)
    if found is not None and not found.complete and not isinstance(again, Blocked):
        return min(again, MEASURING)
    return again


def _placed(
    run: Run,
    card: ModelCard,
    pool: DevicePool,
    costs: Mapping[str, DeviceProfile],
    found: CodecAccuracies | None,
) -> Blocked | float:
    """Plans and places, with other Triton servers as long as chosen ones turn out to be full."""
    before = tuple(run.findings)
    while True:
        run.findings = list(before)
        plans = planning.plan_service(run, card, pool, costs, found)
        if isinstance(plans, Blocked):
            return plans
        again = placing.place(run, pool, plans)
        if again is not None:
            return again


def _accuracies(run: Run, card: ModelCard) -> CodecAccuracies | Blocked | None:
    """Returns the accuracies with codecs, if there is validation data; incomplete while they are measured."""
    validation = run.service.spec.model.validation
    if validation is None:
        return None
    known = run.memory.accuracies
    if known is None or known[:2] != (card.digest, validation) or not known[2].complete:
        found = None
        if run.profile is not None and recorded.measured_on(run.profile, validation):
            found = manifests.codec_accuracies(run.profile.spec)
        try:
            found = found or run.clients.store.codecs(card, validation)
        except StoreError as error:
            return Blocked(
                reasons.MODEL_READY,
                error.reason,
                _in_the_manifest(error, validation.storage_uri, "spec.model.validation"),
                error.transient,
            )
        run.memory.accuracies = known = (card.digest, validation, found)
    return known[2]


def _profile(run: Run) -> ModelProfile | None:
    """Returns the service's ModelProfile, unless another version wrote it: it is then rewritten."""
    body = run.clients.cluster.get(MODEL_PROFILES, run.key.namespace, run.key.name)
    if body is None:
        return None
    try:
        return ModelProfile.model_validate(body)
    except ValidationError:
        return None


def _model(run: Run) -> ModelCard | Blocked:
    source = recorded.resolved(run.service)
    run.profile = _profile(run)
    if run.memory.card is None or not recorded.same_source(source, run.memory.card[0]):
        found = (
            recorded.card_of(run.profile, source, tokens=bool(run.settings.store_token))
            if run.memory.recorded
            else None
        )
        if found is not None:
            run.memory.card = (source, found)
        elif blocked := _register(run, source):
            return blocked
    assert run.memory.card is not None
    card = run.memory.card[1]
    run.resolved = ModelStatus(storage_uri=source.storage_uri, digest=card.digest)
    try:
        manifests.planned_model(run.key.name, card)
    except PlanningError as error:
        reason, message = explained(error, run.key.name, run.service.spec.device_pool)
        return Blocked(reasons.MODEL_READY, reason, message)
    exits = ", ".join(f"{e.name} ({e.accuracy:g})" for e in card.exits)
    run.findings.append(
        Finding(reasons.MODEL_READY, "True", reasons.FETCHED, f"{card.digest[:19]}… has the exits {exits}")
    )
    return card


def _register(run: Run, source: ModelSource) -> Blocked | None:
    """Asks the model store for the metadata."""
    run.memory.recorded = False
    try:
        card = run.clients.store.register(source)
        run.memory.card = (source.model_copy(update={"digest": card.digest}), card)
    except StoreError as error:
        message = _in_the_manifest(error, source.storage_uri)
        if source.digest != run.service.spec.model.digest and error.reason == reasons.DIGEST_MISMATCH:
            message += (
                f"; the service was resolved to {source.digest} before: set spec.model.digest to the digest "
                "of the new bytes to serve them"
            )
        return Blocked(reasons.MODEL_READY, error.reason, message, error.transient)
    return None


def _in_the_manifest(error: StoreError, uri: str, where: str = "spec.model") -> str:
    """Returns the store's message with the field of the manifest in place of the store's field."""
    field, _, sentence = str(error).partition(": ")
    if field in ("model", "path"):
        return f'{where}.storageUri: "{uri}": {sentence}'
    if field.startswith("validation"):
        return f"spec.model.{error}"
    return f"spec.{error}" if field.startswith("model.") else str(error)


def _surroundings(run: Run) -> tuple[DevicePool, tuple[Node, ...]] | Blocked:
    found = surroundings(run.clients.cluster, run.service.spec)
    if isinstance(found, Blocked):
        return found
    run.pool, run.members = found.members, found.entries
    untrusted = pools.missing_certificates(found.pool.spec, run.settings)
    if untrusted:
        message = f"DevicePool {run.service.spec.device_pool}: {untrusted}"
        return Blocked(reasons.PLANNED, reasons.NO_CERTIFICATES, message)
    return unfit(found, run.service.spec) or (found.pool, found.nodes)


def _profiles(
    run: Run,
    card: ModelCard,
    pool: DevicePool,
    nodes: tuple[Node, ...],
    accuracies: CodecAccuracies | None,
) -> tuple[ModelCard, Mapping[str, DeviceProfile]] | Blocked:
    """Returns metadata and measurements, both with the cuts that are found in the model's branches."""
    remote = [server.device_class for server in pool.spec.triton_servers]
    wanted = {member.device_class for member in run.members}
    far = set(remote) - wanted
    nodes_between = (pools.intermediate_nodes(member, run.pool) for member in run.members)
    between = {node.device_class for found in nodes_between for node in found} - wanted - far
    ends = _ends(run, remote)
    known: dict[str, DeviceProfile] = {}
    if run.profile is not None and run.profile.spec.model.digest == card.digest:
        known = profiling.usable(_of_pool(manifests.device_profiles(run.profile.spec), pool), card)
    if run.memory.recorded and run.profile is not None:
        if wanted | far | between <= known.keys() and recorded.has_cuts_between(run.profile, ends):
            return _profiled(run, card, known, accuracies, ends, wanted | far | between)
        if blocked := _register(run, recorded.resolved(run.service)):
            return blocked
        assert run.memory.card is not None
        card = run.memory.card[1]
    measurement = profiling.Measurement(run.clients, run.settings, card, pool, nodes, run.clock.wall())
    try:
        costs = profiling.fetch_profiles(measurement, wanted | far | between, known)
        blocked = profiling.measure(measurement, wanted - set(costs))
        # Local routes do not wait for the classes of Triton servers and of intermediate nodes.
        run.unmeasured = profiling.measure(measurement, far - set(costs))
        if run.service.spec.mode == "CloudOnly" and not set(remote) & set(costs):
            blocked = blocked or run.unmeasured
        profiling.measure(measurement, between - set(costs))
        # Rounded as the ModelProfile has them: a restart finds the same cuts.
        rounded = manifests.as_written(manifests.model_profile(run.key.name, card, costs.values()))
        card, split = _with_branch_cuts(run, card, manifests.device_profiles(rounded), ends)
    except StoreError as error:
        return Blocked(reasons.PROFILED, error.reason, str(error), transient=error.transient)
    if blocked is not None:
        if costs:
            _write_profile(run, card, split, accuracies, ends)
        return blocked
    found, used = (far | between) & set(costs), bool(set(remote) & set(costs))
    return _profiled(run, card, split, accuracies, ends, wanted | found, through_triton=used)


def _of_pool(measured: Mapping[str, DeviceProfile], pool: DevicePool) -> dict[str, DeviceProfile]:
    """Returns the measurements of the pool's nodes: classes of other pools can have the same names."""
    return {
        name: profile
        for name, profile in measured.items()
        if profile.selection == pools.selection(pool.metadata.name, pool.spec, name)
    }


def _profiled(
    run: Run,
    card: ModelCard,
    costs: Mapping[str, DeviceProfile],
    accuracies: CodecAccuracies | None,
    ends: Collection[tuple[str, str]],
    classes: Iterable[str],
    *,
    through_triton: bool = False,
) -> tuple[ModelCard, Mapping[str, DeviceProfile]]:
    """Records the metadata and the measurements, and returns them as recorded.

    through_triton: whether the class of a Triton server is among them while another one is not measured.
    """
    spec = _write_profile(run, card, costs, accuracies, ends)
    measured = ", ".join(f"{name} on {costs[name].node}" for name in sorted(classes))
    if run.unmeasured is None:
        finding = Finding(reasons.PROFILED, "True", reasons.MEASURED, f"measured {measured}")
    else:
        awaited = "further Triton servers" if through_triton else "routes through Triton"
        message = f"measured {measured}; {awaited} follow: {run.unmeasured.message}"
        finding = Finding(reasons.PROFILED, run.unmeasured.finding().status, run.unmeasured.reason, message)
    run.findings.append(finding)
    return card, manifests.device_profiles(spec)


def _write_profile(
    run: Run,
    card: ModelCard,
    costs: Mapping[str, DeviceProfile],
    accuracies: CodecAccuracies | None,
    ends: Collection[tuple[str, str]],
) -> ModelProfileSpec:
    spec = manifests.as_written(manifests.model_profile(run.key.name, card, costs.values(), accuracies))
    notes = recorded.annotations(
        run.service.spec.model, ends, accuracies, spec, tokens=bool(run.settings.store_token)
    )
    profile = {
        "apiVersion": run.body["apiVersion"],
        "kind": "ModelProfile",
        "metadata": metadata(run.body, run.key.name) | {"annotations": notes},
        "spec": written(spec),
    }
    if not covers(run.clients.cluster.get(MODEL_PROFILES, run.key.namespace, run.key.name), profile):
        run.clients.cluster.apply(profile)
    return spec


def _ends(run: Run, remote: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Returns the device classes of entry nodes, each with one that it can send to."""
    near = {member.device_class: pools.intermediate_nodes(member, run.pool) for member in run.members}
    return frozenset(
        (entry, far)
        for entry, nodes in near.items()
        for far in (*remote, *(node.device_class for node in nodes))
    )


def _with_branch_cuts(
    run: Run, card: ModelCard, costs: Mapping[str, DeviceProfile], ends: Collection[tuple[str, str]]
) -> tuple[ModelCard, Mapping[str, DeviceProfile]]:
    """Returns metadata and measurements with the cuts that the planner finds. Raises StoreError."""
    if run.memory.layers is None or run.memory.layers[0] != card.digest:
        run.memory.layers = (card.digest, run.clients.store.layers(card.digest))
    known = (card, costs, ends)
    if run.memory.cuts is None or run.memory.cuts[0] != known:
        run.memory.cuts = (known, with_branch_cuts(card, costs, run.memory.layers[1], ends))
    return run.memory.cuts[1]
