"""The cluster on which the pool is measured, with the operator installed and a model in the store."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml

from benchmarks.pool.services import NAMESPACE, Document, namespace
from benchmarks.runtime.commands import Say
from demo import installation
from demo.services import condition_lines, ready
from demo.testbed_cluster import NODES, TestbedCluster
from demo.training import SCRIPT, Training
from testbed import Testbed, audit
from testbed.audit import RequestCounts
from testbed.errors import KubectlFailed, NotReadyInTimeError
from testbed.progress import step

DIGITS: Final = installation.STORED_AT
OPERATOR: Final = audit.account(installation.NAMESPACE, "edge-operator")
RUNTIMES: Final = audit.account(NAMESPACE, "")
_MANAGED: Final = "app.kubernetes.io/managed-by=edge-intelligence"
_SAY_SECONDS: Final = 10.0


def operators(user: str) -> bool:
    """Whether a user is the operator."""
    return user == OPERATOR


def product(user: str) -> bool:
    """Whether a user is the operator, or a runtime in the benchmark's namespace."""
    return user == OPERATOR or user.startswith(RUNTIMES)


@dataclass(frozen=True)
class Site:
    """A running cluster. `say` prints progress. `namespace`: of the services that the methods are about."""

    root: Path
    bed: Testbed
    images: Path
    say: Say
    namespace: str = NAMESPACE

    def get(self, *what: str) -> Document:
        found: Document = json.loads(self.bed.kubectl("get", *what, "-o", "json"))
        return found

    def items(self, *what: str) -> list[Document]:
        return list(self.get(*what, "-n", self.namespace)["items"])

    def apply(self, documents: Sequence[Document]) -> None:
        self.bed.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(documents))

    def upload(self, model: Path, name: str) -> None:
        """Puts a model into the store."""
        installation.upload(TestbedCluster(self.root), model, name, self.namespace)

    def clear(self) -> None:
        """Removes all services of the benchmark, waits until their pods are gone; removes all DevicePools.

        A node belongs to the oldest pool that selects it, which is to be the one that is applied next.
        """
        with step(self.say, "remove the services", announce=True):
            self.bed.kubectl("delete", "inferenceservices", "--all", "-n", self.namespace, "--timeout=180s")
            self.wait("no runtime pods", lambda: not self.runtimes(), 180)
            self.bed.kubectl("delete", "devicepools", "--all", "--timeout=60s")

    def runtimes(self) -> list[Document]:
        """Returns the pods of runtimes, whatever they serve: by the label that the operator sets on them."""
        return self.items("pods", "-l", _MANAGED)

    def operator_pod(self) -> Document | None:
        """Returns the operator's pod if it is Ready and not being deleted."""
        label = "app.kubernetes.io/name=edge-operator"
        for pod in self.get("pods", "-n", installation.NAMESPACE, "-l", label)["items"]:
            conditions = pod.get("status", {}).get("conditions", [])
            is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            if is_ready and "deletionTimestamp" not in pod["metadata"]:
                return dict(pod)
        return None

    def reconciles(self) -> float:
        """Returns the operator's count of reconciles since it started."""
        pod = self.operator_pod()
        name = pod["metadata"]["name"] if pod else "edge-operator"
        return self._metric(f"pods/{name}:9090", "edge_operator_reconciles_total")

    def store_requests(self) -> float:
        """Returns the store's count of requests since it started."""
        return self._metric("services/https:model-store:8080", "edge_store_requests_total")

    def _metric(self, target: str, name: str) -> float:
        path = f"/api/v1/namespaces/{installation.NAMESPACE}/{target}/proxy/metrics"
        text = self.bed.kubectl("get", "--raw", path)
        rows = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for value in rows)

    def requests(self, start: datetime, end: datetime) -> RequestCounts:
        """Returns the API requests in a time window."""
        return audit.count_requests(audit.lines_of(self.bed.layout.audit), start, end)

    def wait_ready(self, names: Collection[str], seconds: float = 600.0) -> None:
        """Waits until these services are Ready."""
        found: list[Document] = []

        def done() -> bool:
            found[:] = [s for s in self.items("inferenceservices") if s["metadata"]["name"] in names]
            return len(found) == len(names) and all(ready(each) for each in found)

        def state() -> str:
            waiting = [each for each in found if not ready(each)]
            told = f"; {waiting[0]['metadata']['name']}: {'; '.join(_unmet(waiting[0]))}" if waiting else ""
            return f"{len(found) - len(waiting)} of {len(names)}{told}"

        self.wait(f"{len(names)} services Ready", done, seconds, state)

    def unmet(self, name: str) -> str:
        """Returns the conditions of a service that are not True."""
        return "; ".join(_unmet(self.get("inferenceservice", name, "-n", self.namespace)))

    def wait(
        self, what: str, done: Callable[[], bool], seconds: float, state: Callable[[], str] = str
    ) -> None:
        """Polls until `done`; says every ten seconds how far it is. Raises NotReadyInTimeError."""
        began = said = time.monotonic()
        while not done():
            now = time.monotonic()
            if now - began > seconds:
                raise NotReadyInTimeError(f"{what}: not within {seconds:g} s: {state()}")
            if now - said > _SAY_SECONDS:
                said = now
                self.say(f"{what}: {state()} after {now - began:.0f} s")
            time.sleep(1.0)

    def watch(self, what: str, seconds: float) -> tuple[datetime, datetime]:
        """Lets time pass with nothing to do; returns the time window."""
        start = datetime.now(UTC)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.say(f"{what}: {left:.0f} s left")
            time.sleep(min(left, 2 * _SAY_SECONDS))
        return start, datetime.now(UTC)

    def hosts(self, names: Sequence[str], node: str) -> list[str]:
        """Returns NAME=HOST of each service's entrance at a node, the runtime that they share."""
        entrance = self.get("service", f"edge-runtime-{node}", "-n", self.namespace)
        return [f"{name}={entrance['spec']['clusterIP']}" for name in names]

    def client(
        self, node: str, *arguments: str, program: str = "benchmarks.pool.load"
    ) -> subprocess.Popen[str]:
        """Starts a client in a node's network; it ends when its standard input closes."""
        argv = [*self.bed.in_node(node), sys.executable, "-m", program]
        argv += ["--images", str(self.images), *arguments]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.root)


def _unmet(service: Document) -> list[str]:
    return [line for line in condition_lines(service) if "=True" not in line] or ["no condition yet"]


def prepared(root: Path, say: Say) -> Site:
    """Starts the testbed unless it runs, installs the operator and puts the model into the store."""
    site, model = installed(root, say)
    site.apply([namespace()])
    site.upload(model, DIGITS)
    with suppress(KubectlFailed):  # left by a run that was interrupted
        site.clear()
    return site


def installed(root: Path, say: Say) -> tuple[Site, Path]:
    """Starts the testbed unless it runs, and installs the operator; returns the model, too."""
    cluster, bed = TestbedCluster(root), Testbed.of_checkout(root)
    model = Training(root / SCRIPT, root / ".cache", say).run()
    cluster.start(lambda name: step(say, name, announce=True), say)
    for node in NODES:
        bed.node(node.name).set_speed(None)
    with step(say, "helm install", announce=True):
        installation.install(cluster, root)
    return Site(root, bed, model.held_out, say), model.onnx
