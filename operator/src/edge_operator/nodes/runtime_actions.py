"""What to apply and to delete so that a namespace has the runtimes that its Placements need. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from edge_api.policies import Isolation
from edge_api.rollouts import REVISION_OF_LABEL
from edge_operator.cluster import (
    DEPLOYMENTS,
    NETWORK_POLICIES,
    PLACEMENTS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Kind,
    Object,
)
from edge_operator.names import APPLIED_ANNOTATION, NODE_LABEL, RUNTIME_LABEL, SERVICE_LABEL, label_value
from edge_operator.nodes import cpu_requests, rollouts, succession, tolerations, version_watch
from edge_operator.nodes.access import ACCESS, accounts_in_use, has_access, key_of, wanted_access
from edge_operator.nodes.network_policies import network_policies
from edge_operator.nodes.runtimes import (
    Host,
    Runtime,
    is_current,
    is_earlier,
    isolations,
    live_isolation,
    needed,
    runtime_of,
)
from edge_operator.nodes.workloads import (
    client_service,
    runtime_deployment,
    runtime_service,
    runtime_version,
)
from edge_operator.settings import Settings
from edge_operator.versions import covers

AGAIN = 5.0
"""Seconds until the next look at pods that are being replaced, and at services that move."""
RESIZED = 30.0
"""Seconds until the next look at pods that do not have their requests yet."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A namespace as last seen. objects: of the operator, by kind and name."""

    namespace: str
    services: tuple[Object, ...]
    placements: tuple[Object, ...]
    pods: tuple[Object, ...]
    objects: Mapping[tuple[Kind, str], Object]
    hosts: Mapping[str, Host]

    def all(self, kind: Kind) -> list[Object]:
        """Returns the objects of a kind."""
        return [body for (of, _), body in self.objects.items() if of == kind]

    def found(self, kind: Kind, name: str) -> Object | None:
        """Returns an object of the operator, or a Placement."""
        if kind == PLACEMENTS:
            return next((body for body in self.placements if body["metadata"]["name"] == name), None)
        return self.objects.get((kind, name))


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object to apply, and the services that need it."""

    body: Object
    services: frozenset[str]


@dataclass(slots=True)
class Actions:
    """What to do in a namespace.

    resize: pods that request another amount of processor time. notes: by service, what people should know.
    versions: by service, the reason and the message of a roll-out of runtimes. again: seconds, or None.
    """

    apply: list[Wanted] = field(default_factory=list)
    delete: list[tuple[Kind, str]] = field(default_factory=list)
    resize: list[cpu_requests.Resize] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    versions: dict[str, tuple[str, str]] = field(default_factory=dict)
    again: float | None = None


def decide(seen: Seen, settings: Settings, moves: succession.Moves, now: float, wall: float) -> Actions:
    """Returns what to apply and to delete. Pure but for `moves`, in which it notes when moves began.

    now: seconds of the monotonic clock. wall: second of Unix time.
    """
    actions = Actions()
    specified = isolations(seen.services)
    current = [body for body in seen.placements if is_current(body)]
    former = [body for body in seen.placements if not is_current(body)]
    moves.forget(specified.keys())
    selected = {
        name: found for name in specified if (found := live_isolation(seen.objects.get((SERVICES, name))))
    }
    runtimes = needed(current, specified, selected)
    users = _users(runtimes, current)
    pods = _pods(seen, runtimes)
    weight_of = cpu_requests.weights(current)
    judged = _judged(seen.services, current)
    watches = _watches(pods, users, judged, wall)
    _deployments(seen, settings, actions, users, pods, weight_of=weight_of, watches=watches, judged=judged)
    resources = settings.runtime_resources
    actions.resize = cpu_requests.resizes(seen.pods, pods.deployments, users, weight_of, resources)
    if _pending(seen, actions, users):
        actions.again = RESIZED

    def may_move(service: str, own: Sequence[Object]) -> bool:
        return succession.may_move(service, own, specified[service], pods, moves, now)

    def settled(service: str) -> bool:
        return succession.settled(service, moves, now)

    moving = _clients(
        seen, settings, actions, current, specified=specified, may_move=may_move, settled=settled
    )
    by_place = {(p["spec"]["service"], p["spec"]["node"]): p for p in current}
    here = [body for body in former if body["spec"]["service"] not in moving]
    _retire(seen, actions, succession.superseded(here, by_place, pods), former)
    _remove_surplus(seen, actions, runtimes, moving, current)
    unsure = any(watch.pending or watch.fault is not None for watch in watches.values())
    _access(seen, actions, settings, users, current, services=frozenset(specified), returning=unsure)
    _policies(seen, actions, settings, users, frozenset(specified))
    if (
        moving
        or former
        or pods.crowded
        or any(rollouts.replacing(body) for body in pods.deployments.values())
        or any(watch.pending for watch in watches.values())
    ):
        actions.again = AGAIN
    return actions


def _users(runtimes: Iterable[Runtime], placements: Iterable[Object]) -> dict[Runtime, frozenset[str]]:
    """Returns the services that need each runtime."""
    at: dict[str, set[str]] = defaultdict(set)
    for placement in placements:
        at[placement["spec"]["node"]].add(placement["spec"]["service"])
    return {
        runtime: frozenset({runtime.service} if runtime.service else at[runtime.node]) for runtime in runtimes
    }


def _pending(seen: Seen, actions: Actions, users: Mapping[Runtime, frozenset[str]]) -> bool:
    """Notes the pods that do not have their requests of processor time yet; returns whether there are any."""
    any_ = False
    served_by = {runtime.name: services for runtime, services in users.items()}
    for pod in seen.pods:
        text = cpu_requests.pending(pod)
        any_ |= bool(text)
        for service in served_by.get(pod["metadata"]["labels"][RUNTIME_LABEL], ()) if text else ():
            actions.notes[service].append(text)
    return any_


def _pods(seen: Seen, runtimes: Iterable[Runtime]) -> succession.Pods:
    nodes = {runtime.name: runtime.node for runtime in runtimes}
    deployments = {body["metadata"]["name"]: body for body in seen.all(DEPLOYMENTS)}
    crowded = set()
    for pod in seen.pods:
        name = pod["metadata"]["labels"][RUNTIME_LABEL]
        host = seen.hosts.get(nodes.get(name, ""))
        if name in nodes and rollouts.lacks_room(pod, host.memory if host is not None else inf):
            crowded.add(name)
    return succession.Pods(
        {name: deployments[name] for name in sorted(nodes.keys() & deployments.keys())},
        frozenset(crowded),
        seen.hosts,
    )


def _access(
    seen: Seen,
    actions: Actions,
    settings: Settings,
    users: Mapping[Runtime, frozenset[str]],
    placements: Iterable[Object],
    *,
    services: frozenset[str],
    returning: bool,
) -> None:
    """Adds the accounts of runtimes and their rights, before all else; removes those that no pod uses.

    returning: whether pods of the version before can come back.
    """
    ending = {name for kind, name in actions.delete if kind == DEPLOYMENTS}
    runs = [
        body
        for body in seen.all(DEPLOYMENTS)
        if not is_earlier(body) and body["metadata"]["name"] not in ending
    ]
    runs += [former for body in runs if returning and (former := version_watch.former(body)) is not None]
    used = accounts_in_use(runs, seen.pods)
    access = wanted_access(seen.namespace, users, placements, used, settings)
    wanted = [Wanted(body, services) for body in access.shared]
    wanted += [Wanted(body, users[runtime]) for runtime, own in access.own.items() for body in own]
    lacking = [each for each in wanted if not covers(seen.objects.get(key_of(each.body)), each.body)]
    actions.apply[:0] = lacking
    actions.delete += access.surplus(seen.objects)
    if any((SERVICE_ACCOUNTS, name) in seen.objects for name in access.left):
        actions.again = AGAIN


def _policies(
    seen: Seen,
    actions: Actions,
    settings: Settings,
    users: Mapping[Runtime, frozenset[str]],
    services: frozenset[str],
) -> None:
    """Adds the NetworkPolicies of the namespace's pods, after all else; removes those of before."""
    wanted = network_policies(seen.namespace, settings) if users or services else ()
    names = {body["metadata"]["name"] for body in wanted}
    for body in wanted:
        if not covers(seen.objects.get((NETWORK_POLICIES, body["metadata"]["name"])), body):
            actions.apply.append(Wanted(body, services))
    for body in seen.all(NETWORK_POLICIES):
        if (name := body["metadata"]["name"]) not in names:
            actions.delete.append((NETWORK_POLICIES, name))


def _judged(services: Iterable[Object], placements: Iterable[Object]) -> dict[Runtime, list[Object]]:
    """Returns the Placements by which versions of runtimes are judged: not those of candidates of models."""
    candidates = {
        body["metadata"]["name"]
        for body in services
        if REVISION_OF_LABEL in (body["metadata"].get("labels") or {})
    }
    found: dict[Runtime, list[Object]] = defaultdict(list)
    for placement in placements:
        if placement["spec"]["service"] not in candidates:
            found[runtime_of(placement)].append(placement)
    return found


def _watches(
    pods: succession.Pods,
    users: Iterable[Runtime],
    judged: Mapping[Runtime, Sequence[Object]],
    wall: float,
) -> dict[str, version_watch.Watch]:
    """Returns how services fare with the versions of runtimes, by the name of the runtime."""
    found = {}
    for runtime in users:
        live = pods.deployments.get(runtime.name)
        watch = version_watch.read(live) if live is not None else None
        if live is None or watch is None:
            continue
        if watch.pending:
            services = version_watch.served(judged.get(runtime, ()))
            serving = rollouts.has_ready_pod(live) and not rollouts.replacing(live)
            watch = version_watch.looked(watch, runtime.node, services, wall, serving=serving)
        found[runtime.name] = watch
    return found


def _deployments(
    seen: Seen,
    settings: Settings,
    actions: Actions,
    users: Mapping[Runtime, frozenset[str]],
    pods: succession.Pods,
    *,
    weight_of: Mapping[Runtime, float],
    watches: Mapping[str, version_watch.Watch],
    judged: Mapping[Runtime, Sequence[Object]],
) -> None:
    """Adds Services and Deployments of runtimes: new ones at once, new versions node by node.

    A new version waits until the account of its pods exists with its rights, and until services fare well
    with it at the nodes before. One that was returned from is applied to no further node.
    """
    outdated: dict[str, Wanted] = {}
    able = list[str]()
    ready = set()
    faults = version_watch.faults(watches.values())
    for runtime in sorted(users):
        host = seen.hosts.get(runtime.node)
        if host is None:
            continue  # the node has just gone, or is not known yet: what is there stays
        if host.ready:
            ready.add(runtime.name)
        service = runtime_service(runtime, settings)
        if not covers(seen.objects.get((SERVICES, runtime.name)), service):
            actions.apply.append(Wanted(service, users[runtime]))
        live = seen.objects.get((DEPLOYMENTS, runtime.name))
        how = rollouts.strategy(live, crowded=runtime.name in pods.crowded)
        weight = weight_of.get(runtime, 1.0)
        body = _deployment(runtime, host, settings, how, live=live, weight=weight)
        if how == rollouts.IN_PLACE:
            for name in users[runtime]:
                text = f"{runtime.node} has no room for two pods: the runtime there is replaced in place"
                actions.notes[name].append(text)
        version = runtime_version(runtime.namespace, host, settings)
        watch, fault = watches.get(runtime.name), faults.get(version)
        if fault is not None and live is not None:
            _report(actions, users[runtime], fault)
            back = version_watch.returned(live, body, fault) if watch and watch.version == version else None
            if back is None:
                kept = version_watch.held(live, body, watch)
                if not covers(live, kept):
                    actions.apply.append(Wanted(kept, users[runtime]))
            elif watch is not None and watch.phase == "Returning":
                actions.apply.append(Wanted(back, users[runtime]))
            else:
                outdated[runtime.name] = Wanted(back, users[runtime])
                able.append(runtime.name)
            continue
        wanted = Wanted(_watched(body, live, watch, version), users[runtime])
        if live is None or (_same_version(live, wanted.body) and not covers(live, wanted.body)):
            actions.apply.append(wanted)
        elif not _same_version(live, wanted.body):
            if watch is None or watch.version != version:
                services = version_watch.served(judged.get(runtime, ()))
                notes = version_watch.applied(live, watch, version, services)
                wanted = Wanted(version_watch.with_notes(body, notes), users[runtime])
            outdated[runtime.name] = wanted
            if has_access(runtime, seen.objects, settings):
                able.append(runtime.name)
    watched = frozenset(name for name, watch in watches.items() if watch.pending)
    for runtime in users:
        if runtime.name in outdated.keys() | watched:
            _report(actions, users[runtime], None)
    now = rollouts.next_updates(able, pods.deployments, frozenset(ready), watched)
    actions.apply += [wanted for name, wanted in outdated.items() if name in now]
    if outdated.keys() - now:
        actions.again = AGAIN


def _report(actions: Actions, services: Iterable[str], fault: version_watch.Fault | None) -> None:
    for name in services:
        if fault is not None or name not in actions.versions:
            actions.versions[name] = version_watch.finding(fault)


def _watched(body: Object, live: Object | None, watch: version_watch.Watch | None, version: str) -> Object:
    """Returns a Deployment with the annotations of its version."""
    if live is None:
        return version_watch.with_notes(body, version_watch.note(version_watch.Watch(version)))
    if watch is None or (watch.version != version and _same_version(live, body)):
        watch = version_watch.Watch(version if _same_version(live, body) else "")
    return version_watch.with_notes(body, version_watch.note(watch), version_watch.kept_former(live))


def _deployment(
    runtime: Runtime,
    host: Host,
    settings: Settings,
    how: Object,
    *,
    live: Object | None,
    weight: float,
) -> Object:
    """Returns the Deployment to apply.

    It has the weight and the tolerations of the live one if nothing else would change its pod.
    """
    wanted = runtime_deployment(runtime, host, settings, how, weight)
    if live is None or _same_version(live, wanted):
        return wanted
    started = cpu_requests.started_with(live)
    same = runtime_deployment(runtime, host, settings, how, started)
    if _same_version(live, same):
        return same
    found = live["spec"].get("template", {}).get("spec", {}).get("tolerations") or []
    own = tuple(each for each in found if each not in tolerations.ALWAYS)
    if not tolerations.suffices(own, host.tolerations, host.taints):
        return wanted
    kept = runtime_deployment(runtime, replace(host, tolerations=own), settings, how, started)
    return kept if _same_version(live, kept) else wanted


def _same_version(live: Object, wanted: Object) -> bool:
    """Whether the pods are those of the wanted Deployment, so that applying it replaces none."""
    template = wanted["spec"]["template"]
    return _applied(live) == _applied(wanted) and covers(live["spec"].get("template"), template)


def _applied(deployment: Object) -> str | None:
    found: str | None = (deployment["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION)
    return found


def _clients(
    seen: Seen,
    settings: Settings,
    actions: Actions,
    placements: Sequence[Object],
    *,
    specified: Mapping[str, Isolation],
    may_move: Callable[[str, Sequence[Object]], bool],
    settled: Callable[[str], bool],
) -> frozenset[str]:
    """Adds the Services of InferenceServices; returns those whose clients are on their way to other pods."""
    moving = set()
    by_service: dict[str, list[Object]] = defaultdict(list)
    for placement in placements:
        by_service[placement["spec"]["service"]].append(placement)
    for body in seen.services:
        name = body["metadata"]["name"]
        own = by_service.get(name)
        if name not in specified or not own:
            continue
        live = seen.objects.get((SERVICES, name))
        to: Isolation | None = specified[name]
        if live is not None and live_isolation(live) != to:
            moving.add(name)
            if not may_move(name, own):
                to = live_isolation(live)
        elif not settled(name):
            moving.add(name)
        if to is None:
            continue  # clients stay with the pods of an earlier version
        wanted = client_service(body, to, settings, live)
        if not covers(live, wanted):
            actions.apply.append(Wanted(wanted, frozenset({name})))
    return frozenset(moving)


def _retire(seen: Seen, actions: Actions, superseded: Sequence[Object], former: Sequence[Object]) -> None:
    """Removes what an earlier version made for one service: at a node, then what all its pods used."""
    gone = {(p["spec"]["service"], p["spec"]["node"]) for p in superseded}
    kept = {(p["spec"]["service"], p["spec"]["node"]) for p in former} - gone
    labelled = {(label_value(service), label_value(node)) for service, node in kept}
    using = set()
    for kind in (DEPLOYMENTS, SERVICES):
        for body in seen.all(kind):
            labels = body["metadata"].get("labels") or {}
            if not is_earlier(body) or NODE_LABEL not in labels:
                continue
            if (labels[SERVICE_LABEL], labels[NODE_LABEL]) in labelled:
                using.add(labels[SERVICE_LABEL])
            else:
                actions.delete.append((kind, body["metadata"]["name"]))
    actions.delete += [(PLACEMENTS, placement["metadata"]["name"]) for placement in superseded]
    for kind in ACCESS:
        for body in seen.all(kind):
            if is_earlier(body) and body["metadata"]["labels"][SERVICE_LABEL] not in using:
                actions.delete.append((kind, body["metadata"]["name"]))


def _remove_surplus(
    seen: Seen,
    actions: Actions,
    runtimes: Iterable[Runtime],
    moving: frozenset[str],
    placements: Iterable[Object],
) -> None:
    """Removes the runtimes that no Placement needs any more, once clients have left them."""
    kept = set(runtimes)
    for placement in placements:
        if (service := placement["spec"]["service"]) in moving:
            node = placement["spec"]["node"]
            kept |= {Runtime(seen.namespace, node), Runtime(seen.namespace, node, service)}
    names = {runtime.name for runtime in kept}
    for kind in (DEPLOYMENTS, SERVICES):
        for body in seen.all(kind):
            runtime = (body["metadata"].get("labels") or {}).get(RUNTIME_LABEL)
            if runtime is not None and runtime not in names:
                actions.delete.append((kind, body["metadata"]["name"]))
