"""Measurements of a model on the device classes of a pool: known, stored, or taken by a Job. Pure."""

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edge_api import DevicePool, reasons
from edge_api.devicepools import TritonServer
from edge_api.objects import written
from edge_operator.cluster import Object
from edge_operator.conditions import Blocked
from edge_operator.names import label_value, profile_job_name
from edge_operator.nodes.workloads import profile_job
from edge_operator.pool import attempts, manifests, shapes
from edge_operator.pool.actions import Apply, Delete
from edge_operator.pool.attempts import Attempt
from edge_operator.pool.facts import EstimateOf, Lookups, NotKnownError, ProfileOf, ProfileThrough
from edge_operator.pool.pod_troubles import cannot_start, pod_trouble
from edge_operator.pool.states import PoolState
from edge_operator.pool_nodes import Node, PoolMember, selection, server_to_measure, sites
from edge_operator.settings import Settings
from edge_operator.store_answers import DeviceProfile, ModelCard
from edge_operator.tritons.server_profiles import Failed, Subject
from edge_planning.errors import BadProfileError

_POLL = 2.0
_WITHOUT_NODE = 30.0
_WITHOUT_POD = 30.0
"""Seconds after which a Job without a pod is reported."""
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Measuring:
    """A device class that is not measured yet, and why. failed: the measurement failed, not just pending.

    again: seconds until the next step.
    """

    message: str
    failed: bool = False
    reason: str = reasons.PROFILING
    again: float = _POLL


@dataclass(frozen=True, slots=True)
class Measurement:
    """What has to be measured, and where.

    Attributes:
        namespace: In whose name the model store is used.
        nodes: Of the cluster.
        state: The profiling Jobs, their pods, and the settings.
        measuring: Nodes with a measurement; those that begin one are added.
        write: Has a Job started, or the one that it replaces deleted.
        now: The wall-clock time.
        lost: Nodes that the pool selects and that belong to older pools.
    """

    namespace: str
    card: ModelCard
    pool: DevicePool
    nodes: tuple[Node, ...]
    state: PoolState
    lookups: Lookups
    measuring: set[str]
    write: Callable[[Apply | Delete], None]
    now: datetime.datetime
    lost: frozenset[str] = frozenset()

    @property
    def settings(self) -> Settings:
        """Of the installation."""
        return self.state.settings

    def selection(self, device_class: str) -> str:
        """Returns what the measurements of a device class are kept under."""
        return selection(self.pool.metadata.name, self.pool.spec, device_class)

    def job_name(self, device_class: str) -> str:
        """Returns the name of the Job that measures a device class."""
        return profile_job_name(device_class, self.selection(device_class), self.card.digest)

    @property
    def exits(self) -> frozenset[str]:
        """The outputs of the service's exits, since services give the exits of one file different names, and
        the shapes and samples that they are measured at.
        """
        ends = {exit_.end for exit_ in self.card.exits}
        at = {str(shapes.shape_of(each)) for each in self.card.shapes}
        return frozenset(ends | at | ({self.card.samples} if self.card.samples else set()))


def measuring_nodes(jobs: Iterable[Object]) -> set[str]:
    """Returns the labels of the nodes on which Jobs measure now."""
    return {attempts.node_of(job) for job in jobs if attempts.outcome(job) is None}


def stored_profiles(
    wanted: Measurement, classes: Iterable[str], known: Mapping[str, DeviceProfile]
) -> dict[str, DeviceProfile]:
    """Returns the profiles that have every exit of the metadata, by device class: known, or from the store.

    Raises StoreError, NotKnownError.
    """
    found = dict(known)
    missing = sorted(set(classes) - set(found))
    stored = wanted.lookups.get_all(need for each in missing if (need := _stored_need(wanted, each)))
    for device_class in missing:
        need = _stored_need(wanted, device_class)
        profile = stored[need] if need is not None else _measured_through(wanted, device_class)
        if profile is not None and (usable := _usable(profile, wanted.card)) is not None:
            found[device_class] = usable
    return found


def estimates(
    wanted: Measurement, classes: Iterable[str], nodes: Mapping[str, str]
) -> dict[str, DeviceProfile]:
    """Returns estimated profiles of device classes, as far as the store has any. nodes: one of each class.

    Classes that are measured through a server have none: the store has no profiles of them. A failed
    estimate is left out: the measurement reports the cause. Raises NotKnownError.
    """
    needs = [
        EstimateOf(wanted.namespace, wanted.card.digest, wanted.selection(each), each, wanted.exits)
        for each in sorted(classes)
        if server_to_measure(wanted.pool.spec, each) is None
    ]
    found, _ = wanted.lookups.tried(needs)
    at = {
        profile.device_class: profile.model_copy(update={"node": nodes[profile.device_class]})
        for profile in found.values()
        if profile is not None and profile.estimated is not None
    }
    return usable(at, wanted.card)


def usable(profiles: Mapping[str, DeviceProfile], card: ModelCard) -> dict[str, DeviceProfile]:
    """Returns the profiles that planning can use, by device class.

    A profile that lacks an exit was measured for a service that names other exits.
    """
    return {name: found for name, each in profiles.items() if (found := _usable(each, card)) is not None}


def _stored_need(wanted: Measurement, device_class: str) -> ProfileOf | None:
    """Returns the need of what a Job measured; None for a class that is measured through its server."""
    if server_to_measure(wanted.pool.spec, device_class) is not None:
        return None
    job = wanted.state.jobs.get(wanted.job_name(device_class))
    complete = job is not None and attempts.outcome(job) == "Complete"
    after = job["metadata"].get("uid", "") if job is not None and complete else ""
    selected = wanted.selection(device_class)
    return ProfileOf(wanted.namespace, wanted.card.digest, selected, device_class, after)


def _measured_through(wanted: Measurement, device_class: str) -> DeviceProfile | None:
    server = server_to_measure(wanted.pool.spec, device_class)
    found = _through(wanted, server) if server is not None else None
    return found if isinstance(found, DeviceProfile) else None


def _usable(profile: DeviceProfile, card: ModelCard) -> DeviceProfile | None:
    if not shapes.is_measured(profile, card):
        return None
    if profile.refused:
        return profile
    try:
        return manifests.of_exits(profile, card)
    except BadProfileError:
        return None


def measure(wanted: Measurement, missing: Iterable[str]) -> Blocked | None:
    """Starts a Job for each class without a profile. Returns why planning waits; None if none is missing."""
    found = [_measure(wanted, device_class) for device_class in sorted(missing)]
    if not found:
        return None
    failed = [state for state in found if state.failed]
    message = "; ".join(state.message for state in failed or found)
    reason = failed[0].reason if failed else reasons.PROFILING
    again = min(state.again for state in found)
    return Blocked(reasons.PROFILED, reason, message, transient=not failed, again=again)


def _through(wanted: Measurement, server: TritonServer) -> DeviceProfile | Failed | None:
    """Returns what requests to the server measured; None while they are under way."""
    selected = wanted.selection(server.device_class)
    subject = Subject(server, selected, wanted.card, wanted.settings.installation)
    need = ProfileThrough(server.url, wanted.card.digest, selected, wanted.exits, subject)
    try:
        return wanted.lookups.get(need)
    except NotKnownError:
        return None


def _measure(wanted: Measurement, device_class: str) -> Measuring:
    server = server_to_measure(wanted.pool.spec, device_class)
    if server is not None:
        doing = f"profiling device class {device_class} by requests to Triton server {server.name}"
        found = _through(wanted, server)
        if not isinstance(found, Failed):
            return Measuring(doing)
        # Without the seconds that are left: each reconcile would write another status.
        message = f"{doing} failed: {found.message}: it is retried within {found.within:g} s"
        return Measuring(message, failed=True, reason=reasons.PROFILING_FAILED, again=max(1.0, found.again))
    name = wanted.job_name(device_class)
    job = wanted.state.jobs.get(name)
    candidates = sites(wanted.pool.spec, device_class, wanted.nodes, wanted.lost)
    circumstances = attempts.circumstances(wanted.settings, candidates)
    if job is None:
        return _start(wanted, device_class, candidates, Attempt(wanted.exits, circumstances))
    attempt, node = attempts.attempt_of(job), attempts.node_of(job)
    pods = list(wanted.state.job_pods.get(name, ()))
    match attempts.outcome(job):
        case None if node in {label_value(site.node.name) for site in candidates}:
            return _running(wanted, device_class, job, pods)
        case None:
            failure = f"{node}: the node is not Ready, or no longer of the class"
            later = Attempt(attempt.exits | wanted.exits, circumstances, attempt.number + 1, failure)
            return _start(wanted, device_class, candidates, later, job)
        case "Complete" if not attempt.exits.issuperset(wanted.exits):
            # The measurements were taken for services with other exits: all exits are measured again.
            return _start(
                wanted, device_class, candidates, attempt.next(wanted.exits, circumstances, ""), job
            )
        case "Complete":
            reason = reasons.PROFILE_INCOMPLETE
            failure = "the model store lacks measurements of some exits that were measured"
        case _:
            reason = reasons.PROFILING_FAILED
            limits = wanted.settings.runtime_resources.get("limits") or {}
            failure = attempts.failure(job, pods, limits.get("memory", ""))
    due = attempts.retry_at(job) or wanted.now
    if due <= wanted.now or attempt.outdated(wanted.exits, circumstances):
        later = attempt.next(wanted.exits, circumstances, f"{node}: {failure}")
        return _start(wanted, device_class, candidates, later, job)
    message = (
        f"profiling device class {device_class} on {node} failed (attempt {attempt.number}): {failure}: the "
        f"next attempt starts at {due:%H:%M:%S} UTC, or at once if you delete Job "
        f"{wanted.settings.namespace}/{name}"
    )
    return Measuring(message, failed=True, reason=reason, again=(due - wanted.now).total_seconds())


def _running(wanted: Measurement, device_class: str, job: Object, pods: list[Object]) -> Measuring:
    doing = f"profiling device class {device_class} on {attempts.node_of(job)}"
    began = attempts.created_at(job)
    if not pods and began is not None and (wanted.now - began).total_seconds() > _WITHOUT_POD:
        named = f"{wanted.settings.namespace}/{job['metadata']['name']}"
        message = (
            f"{doing} does not start: Job {named} has no pod: its events say what refuses it, e.g. a quota"
        )
        return Measuring(message, failed=True, reason=reasons.PROFILING_FAILED)
    trouble = next((text for pod in reversed(pods) if (text := pod_trouble(pod))), "")
    if any(cannot_start(pod) for pod in pods):
        message = f"{doing} does not start: {trouble}: correct the image or its pull secrets in the chart"
        return Measuring(message, failed=True, reason=reasons.PROFILING_FAILED)
    return _under_way(doing + (f" ({trouble})" if trouble else ""), attempts.attempt_of(job))


def _under_way(doing: str, attempt: Attempt) -> Measuring:
    """Later attempts keep the reason of the failure, so that conditions do not change to and fro."""
    if not attempt.failure:
        return Measuring(doing)
    message = f"{doing} (attempt {attempt.number}); the attempt before it failed: {attempt.failure}"
    return Measuring(message, failed=True, reason=reasons.PROFILING_FAILED)


def _start(
    wanted: Measurement,
    device_class: str,
    candidates: tuple[PoolMember, ...],
    attempt: Attempt,
    before: Object | None = None,
) -> Measuring:
    """Starts an attempt on a node without another measurement. before: the Job that it replaces."""
    if not candidates:
        message = (
            f"device class {device_class}: no Ready node has the labels of its nodeSelector: label a node, "
            "or bring one back"
        )
        return Measuring(message, failed=True, reason=reasons.NO_NODE_TO_PROFILE, again=_WITHOUT_NODE)
    order = attempts.in_order(candidates, before)
    free = [member for member in order if label_value(member.node.name) not in wanted.measuring]
    if not free:
        # Concurrent measurements on one node would slow each other down.
        where = ", ".join(member.node.name for member in order[:_SHOWN])
        return _under_way(f"device class {device_class} waits for another measurement on {where}", attempt)
    chosen = free[0]
    job = profile_job(
        device_class,
        wanted.selection(device_class),
        wanted.card.digest,
        chosen.node.name,
        chosen.node.hostname,
        wanted.settings,
        annotations=attempt.annotations(),
        tolerations=[written(each) for each in chosen.tolerations],
        image=chosen.image,
        execution_providers=chosen.execution_providers,
    )
    if before is not None:
        wanted.write(Delete(before))
    wanted.write(Apply(job))
    wanted.measuring.add(label_value(chosen.node.name))
    return _under_way(f"profiling device class {device_class} on {chosen.node.name}", attempt)
