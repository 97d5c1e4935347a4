"""The cluster in which faults are planted, with a service that clients at all entry nodes ask."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from benchmarks.runtime.commands import Say
from demo import installation
from demo.client_processes import ClientProcesses
from demo.clusters import Entrance
from demo.testbed_cluster import NODES, TestbedCluster
from testbed import Testbed, TestbedError, triton

Document = dict[str, Any]
OPERATOR: Final = installation.NAMESPACE
POOL: Final = "factory"
TRITON: Final = "triton"
OUTSIDE: Final = triton.OUTSIDE
SECOND: Final = "second"
"""Name of the second Triton server in the pool."""
RATE: Final = 2.0
"""Requests a second of each client."""
_TIMEOUT: Final = 30.0
_MANAGED: Final = "app.kubernetes.io/managed-by=edge-intelligence"
_SERVICE: Final = "edge-intelligence.io/service"
_KINDS: Final = (
    "placements", "deployments", "services", "configmaps", "secrets", "networkpolicies", "jobs",
)  # fmt: skip
_WANTED: Final = ("inferenceservices", "tenants")
_NODE: Final = "edge-intelligence.io/node"
_SHARED: Final = f"{_NODE},edge-intelligence.io/isolation=Shared"
_SESSIONS: Final = re.compile(r'edge_sessions_bytes\{service="(?P<service>[^"]*)"')
_READ: Final = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"
_COMPONENT: Final = "app.kubernetes.io/component"
_UNIT_JOB: Final = "host-unit"
_PROC: Final = Path("/proc")
_SHOWN: Final = 15  # characters of a program's name that the kernel keeps
# Why an entry node is busy changes with every request and every estimate of a link.
_JUDGED: Final = ("Ready", "Progressing", "Degraded", "ModelReady", "Profiled", "Planned", "Placed")


@dataclass(frozen=True)
class Ground:
    """A running cluster with a service that is Ready. `slo`: its latency in seconds."""

    root: Path
    model: Path
    held_out: Path
    slo: float
    say: Say
    service: str = installation.SERVICE
    namespace: str = "default"

    @property
    def bed(self) -> Testbed:
        return Testbed.of_checkout(self.root)

    @property
    def cluster(self) -> TestbedCluster:
        return TestbedCluster(self.root)

    @property
    def nodes(self) -> list[str]:
        """The entry nodes."""
        return [node.name for node in NODES]

    def kubectl(self, *argv: str, text: str | None = None) -> str:
        return self.cluster.kubectl(*argv, text=text)

    def get(self, *what: str) -> Document:
        found: Document = json.loads(self.kubectl("get", *what, "-o", "json"))
        return found

    def clients(
        self,
        names: Collection[str],
        entrances: Mapping[str, Entrance] = MappingProxyType({}),
        rate: float = RATE,
    ) -> ClientProcesses:
        """Starts clients, over HTTP one and gRPC the next; they wait for `start`.

        names: nodes, or names that `entrances` has. entrances: addresses in place of those of the nodes.
        """
        nodes = [name for name in names if name not in entrances]
        found = installation.entrances(self.cluster, nodes, self.namespace) if nodes else {}
        entrances = {**found, **{name: at for name, at in entrances.items() if name in names}}
        protocols = {name: ("http", "grpc")[i % 2] for i, name in enumerate(sorted(names))}
        return ClientProcesses(
            entrances, protocols, model=self.service, rate=rate, timeout=_TIMEOUT, held_out=self.held_out
        )

    def conditions(self) -> Mapping[str, str]:
        """The status of the service's conditions, without those that are about traffic; and its entries."""
        status = self.get("inferenceservice", self.service, "-n", self.namespace).get("status", {})
        found = {c["type"]: c["status"] for c in status.get("conditions", []) if c["type"] in _JUDGED}
        return found | {"readyEntries": str(status.get("readyEntries"))}

    def owned(self) -> dict[str, frozenset[str]]:
        """What the operator has made: names of objects in all namespaces, tails in Triton that no table uses
        and those that it lacks, services of which a node holds sessions, and files of units on nodes.
        """
        found = self._names(_KINDS, "-l", _MANAGED) | self._names(_WANTED)
        loaded, used = self.tails(), self.used_tails()
        return found | {
            "tails without a table": loaded - used,
            "tables without a tail": used - loaded,
            "sessions": self.sessions(),
            "units": self.units(),
        }

    def _names(self, kinds: Sequence[str], *selected: str) -> dict[str, frozenset[str]]:
        """Names of objects that are not being deleted, with their namespaces, by kind."""
        found: dict[str, set[str]] = {kind: set() for kind in kinds}
        for item in self.get(",".join(kinds), "-A", *selected)["items"]:
            kind, metadata = _plural(item["kind"]), item["metadata"]
            if "deletionTimestamp" not in metadata and not _is_passing(kind, metadata):
                found[kind].add("/".join(filter(None, (metadata.get("namespace"), metadata["name"]))))
        return {kind: frozenset(names) for kind, names in found.items()}

    def sessions(self) -> frozenset[str]:
        """The services whose sessions the runtimes of the example's namespace hold, as NODE/SERVICE."""
        services = self.get("services", "-n", self.namespace, "-l", _SHARED)["items"]
        found = set()
        for each in services:
            node = each["metadata"]["labels"][_NODE]
            for line in self._metrics(node, each["spec"]["clusterIP"]):
                if name := _SESSIONS.match(line):
                    found.add(f"{node}/{name['service']}")
        return frozenset(found)

    def _metrics(self, node: str, host: str) -> list[str]:
        """The lines of the metrics of a node's runtime; none while it does not respond."""
        argv = [*self.bed.in_node(node), sys.executable, "-c", _READ, f"http://{host}:8080/metrics"]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()

    def units(self) -> frozenset[str]:
        """The files of units on the disks of nodes."""
        folder = self.bed.layout.state / "nodes"
        found = [path for node in self.nodes for path in (folder / node / "units").rglob("*.service")]
        return frozenset(str(path.relative_to(folder)) for path in found)

    def used_tails(self) -> frozenset[str]:
        """The models in Triton servers that routes lead to, as SERVER/MODEL."""
        placements = self.get("placements", "-A")["items"]
        routes = [route for each in placements for route in each["spec"]["routes"]]
        stages = [stage for route in routes for stage in route["stages"]]
        return frozenset(f"{s['place']}/{s['model']}" for s in stages if s["runtime"] == "Triton")

    def tails(self) -> frozenset[str]:
        """The models that the pool's Triton servers have loaded, as SERVER/MODEL."""
        found = set()
        for server in self.get("devicepool", POOL)["spec"]["tritonServers"]:
            # Not by the repository's index: it omits models that were sent inline.
            service = OUTSIDE if server["name"] == SECOND else TRITON
            statistics = f"/api/v1/namespaces/{TRITON}/services/http:{service}:8000/proxy/v2/models/stats"
            models = json.loads(self.kubectl("get", "--raw", statistics))["model_stats"]
            found |= {f"{server['name']}/{model['name']}" for model in models}
        return frozenset(found)

    def unsettled(self, before: Mapping[str, str]) -> list[str]:
        """Returns what is not as before: conditions, Placements that are not loaded in their current
        generation, and tails that Triton lacks. Tails that no route uses have a grace period: see `owned`.
        """
        try:
            now = self.conditions()
            items = self.get("placements", "-n", self.namespace)["items"]
            loaded, used = self.tails(), self.used_tails()
        except TestbedError as error:
            return [str(error)]
        stale = [
            item["metadata"]["name"]
            for item in items
            if not item.get("status", {}).get("loaded")
            or item["status"].get("observedGeneration") != item["metadata"]["generation"]
        ]
        changed = [
            f"{name}: {now.get(name)}, before {before.get(name)}"
            for name in sorted(now.keys() | before.keys())
            if now.get(name) != before.get(name)
        ]
        return [
            *changed,
            *(["no Placement"] if not items else []),
            *(f"{name}: not loaded in its current generation" for name in stale),
            *(f"tail {name}: missing" for name in sorted(used - loaded)),
        ]

    def shown(self) -> str:
        """The conditions, for an error."""
        try:
            status = self.get("inferenceservice", self.service, "-n", self.namespace).get("status", {})
        except TestbedError as error:
            return str(error)
        return "; ".join(
            f"{c['type']}={c['status']} {c.get('reason')}: {c.get('message', '')[:200]}"
            for c in status.get("conditions", [])
            if c["type"] in _JUDGED
        )

    def patch(self, what: str, change: object, kind: str = "merge", namespace: str = "") -> None:
        """Patches an object, such as `deployment/triton`."""
        where = ("-n", namespace) if namespace else ()
        self.kubectl("patch", what, *where, "--type", kind, "-p", json.dumps(change))

    def change(self, **spec: object) -> None:
        """Merges fields into the spec of the example."""
        self.patch(f"inferenceservice/{self.service}", {"spec": spec}, namespace=self.namespace)

    def carried_out(self, *nodes: str, **fields: object) -> bool:
        """Whether every Placement, or those at `nodes`, has these fields and is loaded."""
        items = self.get("placements", "-n", self.namespace, "-l", f"{_SERVICE}={self.service}")["items"]
        items = [item for item in items if not nodes or item["spec"]["node"] in nodes]
        return bool(items) and all(
            all(item["spec"].get(name) == value for name, value in fields.items())
            and bool(item.get("status", {}).get("loaded"))
            and item["status"].get("observedGeneration") == item["metadata"]["generation"]
            for item in items
        )

    def condition(self, name: str, type_: str, namespace: str = "default") -> Document:
        """Returns a condition of a service, or an empty mapping before the operator has written it."""
        status = self.get("inferenceservice", name, "-n", namespace).get("status", {})
        found: Document = next((c for c in status.get("conditions", []) if c["type"] == type_), {})
        return found

    def wait(self, what: str, done: Callable[[], bool], seconds: float = 300.0) -> None:
        """Waits for a condition without clients. Raises NotInTime."""
        installation.wait_for(what, done, seconds, self.shown)

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Edge nodes as fast as the machine: models are measured and pods start sooner."""
        speeds = {node.name: node.speed for node in self.bed.topology.nodes}
        try:
            for node in self.nodes:
                self.bed.node(node).set_speed(None)
            yield
        finally:
            for node in self.nodes:
                self.bed.node(node).set_speed(speeds[node])

    def oversubscribed(self) -> list[str]:
        """Returns a sentence for each capacity that the plan of an entry node exceeds, by `ei explain`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kubeconfig"
            path.write_text(self.kubectl("config", "view", "--raw", "-o", "json"))
            command = (sys.executable, "-m", "edge_cli.app", "explain", self.service)
            done = subprocess.run(
                [*self.bed.in_node("cloud"), *command, "-n", self.namespace, "-o", "json"],
                env={**os.environ, "KUBECONFIG": str(path)},
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            return [f"ei explain {self.service}: {done.stderr.strip()}"]
        return [
            f"{use['resource']} of {use['place']}: {use['total']:g} of {use['capacity']:g}"
            for entry in json.loads(done.stdout)["entries"]
            for use in entry.get("uses", [])
            if use["total"] > use.get("capacity", math.inf) * (1 + 1e-3)
        ]

    def pids(self, namespace: str, labels: str, comm: str = "") -> list[int]:
        """The processes of the pods with these labels, on this machine. comm: with this name; empty: all."""
        pods = self.get("pods", "-n", namespace, "-l", labels)["items"]
        marks = [f"pod{pod['metadata']['uid']}" for pod in pods]
        return _processes(
            lambda folder: (
                any(mark in (folder / "cgroup").read_text() for mark in marks)
                and (folder / "comm").read_text().strip() != "pause"
                and comm in ("", (folder / "comm").read_text().strip())
            )
        )

    def pod_pids(self, namespace: str, pod: str) -> list[int]:
        """The processes of a pod, on this machine."""
        mark = f"pod{self.get('pod', pod, '-n', namespace)['metadata']['uid']}"
        return _processes(
            lambda folder: (
                mark in (folder / "cgroup").read_text() and (folder / "comm").read_text().strip() != "pause"
            )
        )

    def daemons(self, comm: str) -> list[int]:
        """The processes of one of the cluster's own programs, such as `kube-apiserver`."""
        mark = str(self.bed.layout.state)
        return _processes(
            lambda folder: (
                (folder / "comm").read_text().startswith(comm[:_SHOWN])
                and mark in (folder / "cmdline").read_text()
            )
        )


def _plural(kind: str) -> str:
    """The name of a kind of objects as kubectl takes it."""
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def _is_passing(kind: str, metadata: Document) -> bool:
    """Whether Kubernetes removes an object by itself, as profiling Jobs some time after their end."""
    return kind == "jobs" and metadata.get("labels", {}).get(_COMPONENT) != _UNIT_JOB


def _processes(wanted: Callable[[Path], bool]) -> list[int]:
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                if wanted(folder):
                    found.append(int(folder.name))
            except OSError:  # it has ended
                continue
    return found
