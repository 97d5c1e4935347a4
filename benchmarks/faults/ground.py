"""The cluster in which faults are planted, with a service that clients at all entry nodes ask."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.runtime.commands import Say
from demo import installation
from demo.client_processes import ClientProcesses
from demo.testbed_cluster import NODES, TestbedCluster
from testbed import Testbed, TestbedError

Document = dict[str, Any]
OPERATOR: Final = installation.NAMESPACE
TRITON: Final = "triton"
_RATE: Final = 2.0
_TIMEOUT: Final = 30.0
_MANAGED: Final = "app.kubernetes.io/managed-by=edge-intelligence"
_KINDS: Final = ("placements", "deployments", "services", "configmaps", "secrets", "networkpolicies")
_PROC: Final = Path("/proc")
_SHOWN: Final = 15  # characters of a program's name that the kernel keeps
# Why an entry node is busy changes with every request and every estimate of a link.
_JUDGED: Final = ("Ready", "Progressing", "Degraded", "ModelReady", "Profiled", "Planned", "Placed")


@dataclass(frozen=True)
class Ground:
    """A running cluster with a service that is Ready. `slo`: its latency in seconds."""

    root: Path
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

    def clients(self, nodes: Sequence[str]) -> ClientProcesses:
        """Starts a client at each node, over HTTP at one and gRPC at the next; they wait for `start`."""
        entrances = installation.entrances(self.cluster, nodes, self.namespace)
        protocols = {node: ("http", "grpc")[i % 2] for i, node in enumerate(sorted(nodes))}
        return ClientProcesses(
            entrances, protocols, model=self.service, rate=_RATE, timeout=_TIMEOUT, held_out=self.held_out
        )

    def conditions(self) -> Mapping[str, str]:
        """The status of the service's conditions, without those that are about traffic; and its entries."""
        status = self.get("inferenceservice", self.service, "-n", self.namespace).get("status", {})
        found = {c["type"]: c["status"] for c in status.get("conditions", []) if c["type"] in _JUDGED}
        return found | {"readyEntries": str(status.get("readyEntries"))}

    def owned(self) -> dict[str, frozenset[str]]:
        """The names of the operator's objects in the namespace, of tails that no table uses, and of those
        that Triton lacks.
        """
        found = {
            kind: frozenset(
                item["metadata"]["name"]
                for item in self.get(kind, "-n", self.namespace, "-l", _MANAGED)["items"]
                if "deletionTimestamp" not in item["metadata"]
            )
            for kind in _KINDS
        }
        loaded, used = self.tails(), self.used_tails()
        return found | {"tails without a table": loaded - used, "tables without a tail": used - loaded}

    def used_tails(self) -> frozenset[str]:
        """The models in Triton that routes lead to."""
        placements = self.get("placements", "-A")["items"]
        routes = [route for each in placements for route in each["spec"]["routes"]]
        stages = [stage for route in routes for stage in route["stages"]]
        return frozenset(stage["model"] for stage in stages if stage["runtime"] == "Triton")

    def tails(self) -> frozenset[str]:
        """The models that Triton has loaded."""
        # Not by the repository's index: it omits models that were sent inline.
        statistics = f"/api/v1/namespaces/{TRITON}/services/http:triton:8000/proxy/v2/models/stats"
        found = json.loads(self.kubectl("get", "--raw", statistics))
        return frozenset(model["name"] for model in found["model_stats"])

    def settled(self, before: Mapping[str, str]) -> bool:
        """Whether the conditions are as before, every Placement is loaded in its current generation, and
        Triton has the tails that they use and no others.
        """
        try:
            if self.conditions() != before:
                return False
            items = self.get("placements", "-n", self.namespace)["items"]
            if self.tails() != self.used_tails():
                return False
        except TestbedError:
            return False
        return bool(items) and all(
            item.get("status", {}).get("loaded")
            and item["status"].get("observedGeneration") == item["metadata"]["generation"]
            for item in items
        )

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

    def daemons(self, comm: str) -> list[int]:
        """The processes of one of the cluster's own programs, such as `kube-apiserver`."""
        mark = str(self.bed.layout.state)
        return _processes(
            lambda folder: (
                (folder / "comm").read_text().startswith(comm[:_SHOWN])
                and mark in (folder / "cmdline").read_text()
            )
        )


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
