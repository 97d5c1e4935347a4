"""Which nodes have the unit that serves after a reboot, and which Jobs install or remove it. Pure.

A Job that installed the unit stays as the record that its node has one, also for an operator that starts
later. Once the node is to have none, another Job removes the unit; then both Jobs go.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edge_api import reasons
from edge_api.objects import written
from edge_operator.cluster import Object
from edge_operator.conditions import Finding
from edge_operator.nodes.host_unit_jobs import UnitAction, action_of, node_of_job, same_version, unit_job
from edge_operator.ownership import Claim, owner, owning_group
from edge_operator.pool.attempts import created_at, ended_at, failure, outcome
from edge_operator.pool_nodes import Node
from edge_operator.settings import Settings

RETRY: Final = datetime.timedelta(minutes=5)
"""After a Job failed, until its next attempt."""
_POD_WITHIN: Final = datetime.timedelta(minutes=1)
"""For a Job to get a pod: the Job controller says in an event why it cannot create one."""
_NAMED: Final = 3
"""Nodes that a message names; the others are counted."""
_ADMITTING: Final = (None, "", "privileged")


@dataclass(frozen=True, slots=True)
class UnitNode:
    """A node that is to have the unit. tolerations: of its group."""

    pool: str
    hostname: str
    tolerations: tuple[Object, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What is decided on.

    claims: of all pools, from the oldest. nodes: all, by name. jobs: all that install or remove units. pods:
    of each Job, by its name. labels: of the operator's namespace.
    """

    claims: tuple[Claim, ...]
    nodes: Mapping[str, Node]
    jobs: tuple[Object, ...] = ()
    pods: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnitActions:
    """What to do. findings: the condition SurvivesReboot, by pool. again: seconds, or None.

    left: units that could not be removed, by node, and why. failed: how many nodes those are, and how many
    lack the unit for a reason that does not pass by itself.
    """

    apply: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    findings: Mapping[str, Finding] = field(default_factory=dict)
    failed: int = 0
    left: Mapping[str, str] = field(default_factory=dict)
    again: float | None = None


def wanted_units(seen: Seen) -> dict[str, UnitNode]:
    """Returns the nodes that are to have the unit, by name."""
    found = {}
    for node in seen.nodes.values():
        group = owning_group(node, seen.claims)
        if group is not None and group.survives_reboot:
            tolerations = tuple(written(each) for each in group.tolerations or ())
            found[node.name] = UnitNode(owner(node, seen.claims), node.hostname, tolerations)
    return found


def hindrance(settings: Settings, labels: Mapping[str, str]) -> str:
    """Returns why no unit can be installed on any node; empty if it can."""
    if settings.tls_secret:
        return (
            "runtime.tlsSecret of the chart: clients use TLS, whose keys Kubernetes keeps only in memory, so "
            "a unit could not answer them: use tls.mode Auto without it, or set survivesReboot to false"
        )
    level = labels.get("pod-security.kubernetes.io/enforce")
    if level not in _ADMITTING:
        return (
            f'namespace {settings.namespace} enforces the Pod Security standard "{level}", which refuses the '
            "privileged Job: label it pod-security.kubernetes.io/enforce=privileged, or install the unit on "
            "the nodes with `edge-runtime install-unit`"
        )
    return ""


def decide(seen: Seen, settings: Settings, now: datetime.datetime) -> UnitActions:
    """Returns which Jobs to apply and to delete, and what pools report."""
    wanted, blocked = wanted_units(seen), hindrance(settings, seen.labels)
    jobs: dict[str, dict[UnitAction, Object]] = {}
    for job in seen.jobs:
        jobs.setdefault(node_of_job(job), {})[action_of(job)] = job
    apply: list[Object] = []
    delete: list[Object] = []
    waits: list[float] = []
    left: dict[str, str] = {}
    troubles: dict[str, str] = {}
    pending: list[str] = []
    for name in sorted({*wanted, *jobs}):
        own, unit = jobs.get(name, {}), wanted.get(name)
        install, remove = own.get("install"), own.get("remove")
        if unit is None:
            if name not in seen.nodes or (remove is not None and outcome(remove) == "Complete"):
                delete += own.values()  # in the first case, the unit went with the node
            elif remove is None:
                node = seen.nodes[name]
                group = owning_group(node, seen.claims)
                tolerations = [written(each) for each in (group.tolerations if group else None) or ()]
                apply.append(unit_job("remove", name, node.hostname, settings, tolerations))
            elif trouble := _trouble(remove, seen.pods, now):
                left[name] = trouble
                _retry(remove, now, delete, waits)
            continue
        if remove is not None:
            delete.append(remove)
        goal = unit_job("install", name, unit.hostname, settings, unit.tolerations)
        if blocked:
            troubles[name] = blocked
        elif install is None:
            apply.append(goal)
            pending.append(name)
        elif not same_version(install, goal):
            delete.append(install)  # the next decision applies the new one
            pending.append(name)
            waits.append(1.0)
        elif outcome(install) == "Complete":
            continue
        elif trouble := _trouble(install, seen.pods, now):
            troubles[name] = trouble
            _retry(install, now, delete, waits)
        else:
            pending.append(name)
            waits.append(_POD_WITHIN.total_seconds())
    findings = {
        pool: _finding([name for name, unit in wanted.items() if unit.pool == pool], troubles, pending)
        for pool in {unit.pool for unit in wanted.values()}
    }
    return UnitActions(
        tuple(apply),
        tuple(delete),
        findings,
        failed=len(troubles) + len(left),
        left=left,
        again=min(waits, default=None),
    )


def _trouble(job: Object, pods: Mapping[str, Sequence[Object]], now: datetime.datetime) -> str:
    """Returns why a Job did not do its work; empty if it did, or runs."""
    own = pods.get(job["metadata"]["name"], ())
    if outcome(job) == "Failed":
        return failure(job, own)
    created = created_at(job)
    if outcome(job) is None and not own and created is not None and now - created >= _POD_WITHIN:
        name = f"{job['metadata']['namespace']}/{job['metadata']['name']}"
        return f"Job {name} has no pod: its events say why, e.g. that admission refuses privileged pods"
    return ""


def _retry(job: Object, now: datetime.datetime, delete: list[Object], waits: list[float]) -> None:
    """Has a Job that failed replaced, once its delay is over."""
    since = ended_at(job) or created_at(job) or now
    if outcome(job) == "Failed" and now - since >= RETRY:
        delete.append(job)
        waits.append(1.0)
    else:
        waits.append(max(1.0, (since + RETRY - now).total_seconds()))


def _finding(names: Iterable[str], troubles: Mapping[str, str], pending: Sequence[str]) -> Finding:
    own = sorted(names)
    failed = [name for name in own if name in troubles]
    if failed:
        by_trouble: dict[str, list[str]] = {}
        for name in failed:
            by_trouble.setdefault(troubles[name], []).append(name)
        message = "; ".join(f"{_listed(on)}: {trouble}" for trouble, on in list(by_trouble.items())[:_NAMED])
        return Finding(reasons.SURVIVES_REBOOT, "False", reasons.UNITS_NOT_INSTALLED, message)
    under_way = [name for name in own if name in pending]
    if under_way:
        message = f"the unit is being installed on {_listed(under_way)}"
        return Finding(reasons.SURVIVES_REBOOT, "Unknown", reasons.UNITS_INSTALLING, message)
    message = f"the unit is installed on {_listed(own)}"
    return Finding(reasons.SURVIVES_REBOOT, "True", reasons.UNITS_INSTALLED, message)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
