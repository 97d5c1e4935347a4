"""Two tenants on the cluster, each with a namespace and a service of its own at the slowest nodes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import yaml

from demo import installation
from demo.client_processes import ClientProcesses
from demo.clusters import DemoCluster, Entrance, Say, Step
from demo.errors import DemoError
from demo.existing_cluster import CLASS_LABEL
from demo.installation import STORED_AT, wait_for
from demo.services import Document, condition_lines, entry_nodes, not_carried_out, ready
from demo.sharing import manifests
from demo.sharing.capacity import capacity, slowest
from demo.sharing.results import Terms
from testbed import TestbedError

QUIET: Final = "demo-quiet"
NOISY: Final = "demo-noisy"
"""Names of the Tenants and of their namespaces."""
SERVICE: Final = "camera"
LOAD: Final = 0.15
"""What each tenant declares, of what a node can do with the full model. With the namespace of the first act,
three tenants share the node."""
MOST_RATE: Final = 5.0
"""Requests per second that a tenant declares at most at a node: a client can send ten times as many."""
_READY_SECONDS: Final = 180.0
_EXPECT_503: Final = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=10)
except urllib.error.HTTPError as error:
    sys.exit(error.code != 503)
sys.exit(1)
"""


@dataclass(frozen=True)
class Shared:
    """The terms of the tenants, their pool, and the device class of the nodes that they share."""

    terms: Terms
    pool: str
    device_class: str


def shared(cluster: DemoCluster) -> Shared:
    """Returns what the tenants share, from the profile and the entry nodes of the first act's service."""
    profile = json.loads(
        cluster.kubectl("get", "modelprofile", installation.SERVICE, "-n", "default", "-o", "json")
    )
    nodes = json.loads(cluster.kubectl("get", "nodes", "-l", CLASS_LABEL, "-o", "json"))["items"]
    classes = {each["metadata"]["name"]: each["metadata"]["labels"][CLASS_LABEL] for each in nodes}
    entries = entry_nodes(installation.placements(cluster))
    device_class = slowest(profile, {classes[node] for node in entries})
    can_do = capacity(profile, device_class)
    terms = Terms(
        QUIET,
        NOISY,
        tuple(node for node in entries if classes[node] == device_class),
        slo=can_do.latency,
        rate=round(min(LOAD * can_do.rate, MOST_RATE), 3),
        exits=can_do.exits,
    )
    return Shared(terms, installation.service(cluster)["spec"]["devicePool"], device_class)


@contextlib.contextmanager
def tenants(
    cluster: DemoCluster, at: Shared, model: Path, speeds: Mapping[str, float], step: Step, say: Say
) -> Iterator[None]:
    """Two tenants of equal weight whose services are Ready; removed at the end.

    speeds: of the nodes, in cores by device class; empty if the demo does not limit them. An error does not
    wait for the removal.
    """
    completed = False
    try:
        with step("set up the tenants"):
            _start(cluster, at, model, speeds, say)
            cluster.pin(at.terms.nodes)
        yield
        completed = True
    finally:
        cluster.pin(())
        cluster.set_speeds(speeds)
        if not completed:
            with contextlib.suppress(DemoError, TestbedError):
                remove(cluster, wait=False)
    with step("remove the tenants"):
        remove(cluster)


def _start(cluster: DemoCluster, at: Shared, model: Path, speeds: Mapping[str, float], say: Say) -> None:
    names = at.terms.tenants
    remove(cluster)  # what an interrupted run left
    cluster.set_speeds(dict.fromkeys(speeds.keys() & {at.device_class}))
    _apply(cluster, [manifests.namespace(name) for name in names])
    _set_policy(cluster, at, "None")
    for name in names:
        installation.upload(cluster, model, namespace=name)
    _apply(cluster, [_service(at, name) for name in names])
    _wait(cluster, at, "Ready", _is_ready)
    if at.device_class not in speeds:
        return
    # A pod needs a minute to start at the speed of a camera. What it expects of the node comes from the first
    # runs of its slices, so the slices are loaded again at that speed.
    say(f"pods have started; nodes get {speeds[at.device_class]:g} cores again")
    _set_policy(cluster, at, "HoldAndDrain")
    _wait(cluster, at, "drained", _is_drained)
    _wait_unloaded(cluster, at.terms)
    cluster.set_speeds(speeds)
    _set_policy(cluster, at, "None")
    _wait(cluster, at, "Ready", _is_ready)


def _apply(cluster: DemoCluster, documents: list[manifests.Document]) -> None:
    cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(documents))


def _set_policy(cluster: DemoCluster, at: Shared, policy: str) -> None:
    _apply(cluster, [manifests.tenant(name, name, 1, policy) for name in at.terms.tenants])


def _service(at: Shared, name: str) -> manifests.Document:
    return manifests.service(
        SERVICE,
        name,
        pool=at.pool,
        file=STORED_AT,
        latency=at.terms.slo,
        rate=at.terms.rate,
        entries={CLASS_LABEL: at.device_class},
    )


def _wait(
    cluster: DemoCluster, at: Shared, what: str, met: Callable[[Document, list[Document]], bool]
) -> None:
    """Waits until the service of each tenant, with its Placements, meets a condition. Raises NotInTime."""
    for name in at.terms.tenants:
        wait_for(
            f"inferenceservice {name}/{SERVICE} {what}",
            partial(_meets, cluster, name, met),
            _READY_SECONDS,
            partial(_conditions, cluster, name),
            0.5,
        )


def _meets(cluster: DemoCluster, name: str, met: Callable[[Document, list[Document]], bool]) -> bool:
    return met(*_found(cluster, name))


def _conditions(cluster: DemoCluster, name: str) -> str:
    return "; ".join(condition_lines(_found(cluster, name)[0]))


def _found(cluster: DemoCluster, name: str) -> tuple[Document, list[Document]]:
    service = json.loads(cluster.kubectl("get", "inferenceservice", SERVICE, "-n", name, "-o", "json"))
    return service, json.loads(cluster.kubectl("get", "placements", "-n", name, "-o", "json"))["items"]


def _is_ready(service: Document, placements: list[Document]) -> bool:
    return ready(service) and not not_carried_out(placements, service["spec"]["mode"])


def _is_drained(service: Document, placements: list[Document]) -> bool:
    """Whether the Placements tell the nodes to unload the slices of the service."""
    return bool(placements) and all("refusal" in each["spec"] for each in placements)


def _wait_unloaded(cluster: DemoCluster, terms: Terms) -> None:
    """Waits until the nodes have unloaded the slices, which their statuses do not tell. Raises NotInTime."""
    for name in terms.tenants:
        for node, entrance in installation.entrances(cluster, terms.nodes, name).items():
            wait_for(
                f"{name}/{SERVICE} unloaded at {node}",
                partial(_refuses, entrance),
                _READY_SECONDS,
                partial(str, "It is still ready"),
                0.5,
            )


def _refuses(entrance: Entrance) -> bool:
    """Whether a runtime says that the service is not ready (503)."""
    url = f"http://{entrance.host}:{entrance.http}/v2/models/{SERVICE}/ready"
    argv = [*entrance.prefix, sys.executable, "-c", _EXPECT_503, url]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def remove(cluster: DemoCluster, *, wait: bool = True) -> None:
    """Deletes the tenants with everything in their namespaces; `wait`: returns once all is gone."""
    if wait:
        for name in (QUIET, NOISY):
            cluster.kubectl("delete", "inferenceservices", "--all", "-n", name, "--timeout=120s")
    how = ("--ignore-not-found", "--timeout=120s" if wait else "--wait=false")
    cluster.kubectl("delete", "namespaces", QUIET, NOISY, *how)
    cluster.kubectl("delete", "tenants", QUIET, NOISY, *how)


@contextlib.contextmanager
def clients(
    cluster: DemoCluster, terms: Terms, *, timeout: float, held_out: Path
) -> Iterator[dict[str, ClientProcesses]]:
    """Clients at all nodes by tenant, ready to send at the declared rate; ended at the end.

    timeout: seconds after which a request is lost.
    """
    with contextlib.ExitStack() as ending:
        found: dict[str, ClientProcesses] = {}
        for name in terms.tenants:
            found[name] = ClientProcesses(
                installation.entrances(cluster, terms.nodes, name),
                dict.fromkeys(terms.nodes, "http"),
                model=SERVICE,
                rate=terms.rate,
                timeout=timeout,
                held_out=held_out,
            )
            ending.callback(found[name].end)
        yield found


def listed(cluster: DemoCluster) -> str:
    """Returns the output of `kubectl get tenants`."""
    return cluster.kubectl("get", "tenants").rstrip()
