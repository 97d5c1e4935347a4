"""The second step of a service's plan: the measurements of its model, and cuts in its branches. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf

from edge_api import DevicePool, reasons
from edge_api.modelprofiles import ModelProfileSpec
from edge_api.objects import written
from edge_operator.conditions import UNDERWAY, Blocked, Finding, Status
from edge_operator.errors import StoreError
from edge_operator.names import label_value
from edge_operator.nodes.workloads import metadata
from edge_operator.pool import first_requests, manifests, measurements, models, recorded, shapes
from edge_operator.pool.branches import with_branch_cuts
from edge_operator.pool.drafts import Draft
from edge_operator.pool.facts import LayersOf
from edge_operator.pool.surroundings import Surroundings
from edge_operator.pool_nodes import intermediate_nodes, selection
from edge_operator.store_answers import CodecAccuracies, DeviceProfile, Estimate, ModelCard

Ends = Collection[tuple[str, str]]
Profiled = tuple[ModelCard, Mapping[str, DeviceProfile]]


def profiles(
    draft: Draft,
    card: ModelCard,
    surroundings: Surroundings,
    accuracies: CodecAccuracies | None,
) -> Profiled | Blocked:
    """Returns metadata and measurements, both with the cuts that are found in the model's branches."""
    if card.unknown_sizes:
        return _without_plan(draft, card, reasons.SHAPES_UNKNOWN)
    pool = surroundings.pool
    remote = [server.device_class for server in pool.spec.triton_servers]
    wanted = {member.device_class for member in draft.members}
    far = set(remote) - wanted
    nodes_between = (intermediate_nodes(member, draft.pool) for member in draft.members)
    between = {node.device_class for found in nodes_between for node in found} - wanted - far
    ends = _ends(draft, remote)
    known: dict[str, DeviceProfile] = {}
    if draft.profile is not None and draft.profile.spec.model.digest == card.digest:
        written_before = _of_pool(manifests.device_profiles(draft.profile.spec), pool)
        measured = {name: each for name, each in written_before.items() if each.estimated is None}
        known = measurements.usable(measured, card)
    if draft.recorded and draft.profile is not None:
        if wanted | far | between <= known.keys() and recorded.has_cuts_between(draft.profile, ends):
            return _profiled(draft, card, known, accuracies, ends, wanted | far | between)
        found = models.registered(draft)
        if isinstance(found, Blocked):
            return found
        card, draft.recorded = found, False
    measurement = measurements.Measurement(
        draft.key.namespace,
        card,
        pool,
        surroundings.nodes,
        draft.state,
        draft.lookups,
        draft.shared.measuring,
        draft.write,
        draft.now.wall,
        frozenset(each.member.node.name for each in surroundings.lost),
    )
    try:
        costs = measurements.stored_profiles(measurement, wanted | far | between, known)
        refused = {name: costs.pop(name) for name in sorted(costs) if costs[name].refused}
        costs |= first_requests.measured(card, refused, draft.members, draft.known)
        missing = frozenset((wanted | far | between) - set(costs) - set(refused))
        blocked = measurements.measure(measurement, wanted & missing)
        here = [refused[name] for name in refused if name in wanted - set(costs)]
        if here:
            return _on_first_requests(draft, card, here)
        # Local routes do not wait for the classes of Triton servers and of intermediate nodes.
        draft.unmeasured = measurements.measure(measurement, far & missing) or _never_measured(
            [refused[name] for name in refused if name in far - set(costs)]
        )
        if draft.service.spec.mode == "CloudOnly" and not set(remote) & set(costs):
            blocked = blocked or draft.unmeasured
        measurements.measure(measurement, between & missing)
        if blocked is not None:
            nodes = {member.device_class: member.node.name for member in reversed(draft.members)}
            estimated = measurements.estimates(measurement, wanted & missing, nodes)
            if estimated.keys() == wanted & missing:
                costs |= estimated
                draft.unmeasured, blocked = blocked, None
        card = shapes.with_responses(card, list(costs.values()))
        # Rounded as the ModelProfile has them: a restart finds the same cuts.
        rounded = manifests.as_written(manifests.model_profile(draft.key.name, card, costs.values()))
        graph = draft.lookups.get(LayersOf(draft.key.namespace, card.digest))
        card, split = with_branch_cuts(card, manifests.device_profiles(rounded), graph, ends)
        ends = ends if graph is not None else frozenset()  # to be searched once the store knows the layers
    except StoreError as error:
        return Blocked(reasons.PROFILED, error.reason, str(error), transient=error.transient)
    if blocked is not None:
        if costs:
            _write_profile(draft, card, split, accuracies, ends)
        return blocked
    others, used = (far | between) & set(costs), bool(set(remote) & set(costs))
    return _profiled(draft, card, split, accuracies, ends, wanted | others, through_triton=used)


def _without_plan(draft: Draft, card: ModelCard, reason: str) -> Profiled:
    """Returns metadata and measurements with which each entry node serves the whole model, without a plan."""
    status: Status = "Unknown" if reason in UNDERWAY else "False"
    draft.found(Finding(reasons.PROFILED, status, reason, card.local))
    classes = {member.device_class: member.node.name for member in draft.members}
    return card, {name: shapes.without_times(card, name, node) for name, node in classes.items()}


def _on_first_requests(draft: Draft, card: ModelCard, refused: Sequence[DeviceProfile]) -> Profiled:
    """Has entry nodes measure a model that refuses generated inputs, and serve it until then without a plan.

    refused: of the device classes of entry nodes.
    """
    spec = draft.service.spec
    local = "until then, requests are served at their entry nodes by the whole model"
    if spec.model.first_requests == "Ignore" or spec.mode == "CloudOnly":
        said = f"not measured on {refused[0].node}: {refused[0].refused}"
        why = f"{said}: write samples of requests into spec.model.samples; {local}"
        return _without_plan(draft, shapes.unplanned(card, why), reasons.INPUTS_REFUSED)
    found = []
    for profile in refused:
        members = [each for each in draft.members if each.device_class == profile.device_class]
        one = first_requests.turns(profile, members, draft.known, draft.shared.measuring)
        draft.shared.measuring.update(label_value(n) for n, turn in one.turns.items() if turn == "Measure")
        found.append(one)
    draft.first_requests = {node: turn for one in found for node, turn in one.turns.items()}
    measuring = any(one.measuring for one in found)
    said = "; ".join(one.message for one in found)
    why = f"{said}: send requests there, or write samples of them into spec.model.samples; {local}"
    reason = reasons.MEASURING_ON_REQUESTS if measuring else reasons.INPUTS_REFUSED
    return _without_plan(draft, shapes.unplanned(card, why), reason)


def _never_measured(refused: Sequence[DeviceProfile]) -> Blocked | None:
    """Returns why there are no routes through Triton if the model refuses generated inputs there.

    Entry nodes have their plan by then. Inputs of requests are measured on at their own node alone.
    """
    if not refused:
        return None
    classes = ", ".join(profile.device_class for profile in refused)
    message = (
        f"device class {classes} is not measured: {refused[0].refused}: write samples of requests into "
        "spec.model.samples"
    )
    return Blocked(reasons.PROFILED, reasons.INPUTS_REFUSED, message, again=inf)


def _place(profile: DeviceProfile) -> str:
    return profile.node if profile.measured_on is None else f"{profile.node} on the inputs of requests"


def _of_pool(measured: Mapping[str, DeviceProfile], pool: DevicePool) -> dict[str, DeviceProfile]:
    """Returns the measurements of the pool's nodes: classes of other pools can have the same names."""
    return {
        name: profile
        for name, profile in measured.items()
        if profile.selection == selection(pool.metadata.name, pool.spec, name)
    }


def _profiled(
    draft: Draft,
    card: ModelCard,
    costs: Mapping[str, DeviceProfile],
    accuracies: CodecAccuracies | None,
    ends: Ends,
    classes: Iterable[str],
    *,
    through_triton: bool = False,
) -> Profiled:
    """Records the metadata and the measurements, and returns them as recorded.

    through_triton: whether the class of a Triton server is among them while another one is not measured.
    """
    spec = _write_profile(draft, card, costs, accuracies, ends)
    estimated = {name: each for name in classes if (each := costs[name].estimated) is not None}
    named = sorted(set(classes) - estimated.keys())
    measured = ", ".join(f"{name} on {_place(costs[name])}" for name in named)
    if estimated and draft.unmeasured is not None:
        draft.found(_estimated(estimated, draft.unmeasured, measured))
    elif draft.unmeasured is None:
        draft.found(Finding(reasons.PROFILED, "True", reasons.MEASURED, f"measured {measured}"))
    else:
        why = draft.unmeasured
        awaited = "further Triton servers" if through_triton else "routes through Triton"
        message = f"measured {measured}; {awaited} follow: {why.message}"
        draft.found(Finding(reasons.PROFILED, why.finding().status, why.reason, message))
    return card, manifests.device_profiles(spec)


def _estimated(estimated: Mapping[str, Estimate], why: Blocked, measured: str) -> Finding:
    """Returns the condition of a service whose plan uses estimates. why: they are not measured yet."""
    said = ", ".join(
        f"{name} from {each.models} other model{'s' if each.models > 1 else ''} (error {each.error:.0%})"
        for name, each in sorted(estimated.items())
    )
    message = f"estimated {said}{'; measured ' if measured else ''}{measured}; {why.message}"
    if why.reason == reasons.PROFILING:
        return Finding(reasons.PROFILED, "True", reasons.ESTIMATED, message)
    return Finding(reasons.PROFILED, why.finding().status, why.reason, message)


def _write_profile(
    draft: Draft,
    card: ModelCard,
    costs: Mapping[str, DeviceProfile],
    accuracies: CodecAccuracies | None,
    ends: Ends,
) -> ModelProfileSpec:
    spec = manifests.as_written(manifests.model_profile(draft.key.name, card, costs.values(), accuracies))
    tokens = bool(draft.settings.store_token)
    source = draft.service.spec.model
    if draft.resolved is not None and draft.resolved.inputs:
        source = source.model_copy(update={"inputs": draft.resolved.inputs})
    notes = recorded.annotations(source, ends, accuracies, spec, tokens=tokens)
    profile = {
        "apiVersion": draft.body["apiVersion"],
        "kind": "ModelProfile",
        "metadata": metadata(draft.body, draft.key.name) | {"annotations": notes},
        "spec": written(spec),
    }
    draft.apply(profile, draft.own.profile)
    return spec


def _ends(draft: Draft, remote: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Returns the device classes of entry nodes, each with one that it can send to."""
    near = {member.device_class: intermediate_nodes(member, draft.pool) for member in draft.members}
    return frozenset(
        (entry, far)
        for entry, nodes in near.items()
        for far in (*remote, *(node.device_class for node in nodes))
    )
