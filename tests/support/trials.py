"""Actions and observations of the end-to-end tests on the cluster."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import yaml

from demo import installation
from demo.clusters import Entrance
from demo.errors import DemoError
from demo.installation import wait_for
from demo.samples import LabeledImages
from demo.testbed_cluster import NODES, TestbedCluster
from demo.training import TrainedModel
from testbed import Testbed, TestbedError
from testbed.errors import KubectlFailed

Document = dict[str, Any]
GATEWAY, LOCAL = "edge-a", "local"
PATIENCE = 180.0  # seconds until a condition that has to come is given up; a busy machine takes its time
NEAR = 8  # responses before and after one that was lost, for a failure to show
READ = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"
UNPROTECTED = json.dumps({"metadata": {"finalizers": None}})
ASK = Path(__file__).with_name("ask.py")


def another_service(name: str) -> Document:
    """The manifest of a service with the example's model, on the example's pool."""
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "model": {"storageUri": "store://digits/digits.onnx"},
            "slo": {"latency": "150ms"},
            "devicePool": "factory",
        },
    }


@dataclass(frozen=True)
class Answer:
    """One inference in the client library's form."""

    ready: bool
    id: str
    model: str
    output: str
    values: npt.NDArray[np.float32]
    parameters: Document


@dataclass
class Load:
    """A steady stream of requests at one node; `answers` grows while it runs."""

    node: str
    state: Callable[[], str]  # what a failure shows
    answers: list[Document] = field(default_factory=list)
    links: list[Document] = field(default_factory=list)
    _came: threading.Condition = field(default_factory=threading.Condition)

    def check_none_lost(self) -> None:
        """Fails with the requests before and after those without a response, and with the state.

        A node that is too busy to respond in time refuses a request (429), by which it is not lost.
        """
        with self._came:
            sent = sorted(self.answers, key=lambda answer: float(answer["sent"]))
            errors = {i: answer["error"] for i, answer in enumerate(sent) if "error" in answer}
            lost = [i for i, error in errors.items() if not error.startswith("[429]")]
            if lost:
                near = [sent[i] for i in range(len(sent)) if min(abs(i - k) for k in lost) <= NEAR]
                answers, links = map("\n".join, (map(json.dumps, near), map(json.dumps, self.links)))
                raise AssertionError(
                    f"{self.node}: {len(lost)} of {len(sent)} requests lost; with those before and after:\n"
                    f"{answers}\nthe link:\n{links}\n{self.state()}"
                )

    def wait_for_cut(self, seconds: float = PATIENCE) -> Document:
        """The next response by a route with a hop, which must be in the node's plan."""
        return self.wait_for("a cut route", lambda a: a.get("cut") not in (None, LOCAL), seconds)

    def wait_for_local(self, seconds: float = PATIENCE) -> Document:
        """The next response by a local route of the node."""
        return self.wait_for("the local route", lambda a: a.get("cut") == LOCAL, seconds)

    def wait_for(
        self, what: str, condition: Callable[[Document], bool], seconds: float = PATIENCE
    ) -> Document:
        """The next response for which the condition holds."""
        with self._came:
            start = len(self.answers)

            def found() -> Document | None:
                return next((a for a in self.answers[start:] if condition(a)), None)

            if not self._came.wait_for(lambda: found() is not None, seconds):
                raise AssertionError(
                    f"{self.node}: no answer with {what} in {seconds:g} s; "
                    f"the last answers: {self.answers[-8:]}; the link: {self.links[-8:]}\n{self.state()}"
                )
            answer = found()
        assert answer is not None
        return answer

    def find(self, count: int, condition: Callable[[Document], bool]) -> Document | None:
        """The first of the next answers, at most `count`, for which the condition holds."""
        with self._came:
            start = len(self.answers)

            def ended() -> bool:
                return len(self.answers) >= start + count or any(map(condition, self.answers[start:]))

            if not self._came.wait_for(ended, PATIENCE):
                raise AssertionError(f"{self.node}: no {count} answers in {PATIENCE:g} s\n{self.state()}")
            return next(filter(condition, self.answers[start:]), None)

    def receive(self, lines: Iterator[str]) -> None:
        """Reads the client's events until it ends."""
        for line in lines:
            event = json.loads(line)
            with self._came:
                if event["event"] == "answer":
                    self.answers.append(event)
                elif event["event"] == "link":
                    self.links.append(event)
                self._came.notify_all()


@dataclass(frozen=True)
class Trial:
    """The cluster with the example on it; `slo` in seconds, `speeds` in cores by device class."""

    root: Path
    cluster: TestbedCluster
    trained: TrainedModel
    slo: float
    speeds: Mapping[str, float]

    @property
    def bed(self) -> Testbed:
        """The testbed: links, speeds, power."""
        return Testbed.of_checkout(self.root)

    def get(self, kind: str, name: str, namespace: str = "default") -> Document:
        """The current object. Raises KubectlFailed if there is none."""
        found: Document = json.loads(self.cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def placements(self) -> dict[str, Document]:
        """The example's placements by node."""
        return {p["spec"]["node"]: dict(p) for p in installation.placements(self.cluster)}

    def check_plan(self) -> None:
        """Whether the gateway's plan has a hop while the link is up, and a local route without it, which most
        tests are about. The speeds of the nodes are chosen for that.
        """
        cuts = [route["cut"] for route in self.placements()[GATEWAY]["spec"]["routes"]]
        assert cuts[0] != LOCAL, f"{GATEWAY} has no route with a hop: {self.profile()}"
        assert cuts[-1] == LOCAL, f"{GATEWAY} has no route without the link: {self.profile()}"

    def profile(self) -> str:
        """The measurements, to show in a failure."""
        return json.dumps(self.get("modelprofile", "digits")["spec"]["deviceClasses"])

    def condition(self, name: str, type_: str, namespace: str = "default") -> Document:
        """One condition of a service, or an empty mapping before the operator has written it."""
        status = self.get("inferenceservice", name, namespace).get("status", {})
        found: Document = next((c for c in status.get("conditions", []) if c["type"] == type_), {})
        return found

    def triton_models(self, server: str = "triton") -> dict[str, int]:
        """The models that a Triton server has loaded, with the requests that each has served."""
        # Not by the repository's index: it omits models that were sent inline.
        statistics = f"/api/v1/namespaces/triton/services/http:{server}:8000/proxy/v2/models/stats"
        found = json.loads(self.cluster.kubectl("get", "--raw", statistics))
        return {
            model["name"]: int(model["inference_stats"]["success"].get("count", 0))
            for model in found["model_stats"]
        }

    def store_requests(self) -> float:
        """How many requests the model store has had, without link probes and health checks."""
        store = "/api/v1/namespaces/edge-intelligence/services/https:model-store:8080/proxy/metrics"
        lines = self.cluster.kubectl("get", "--raw", store).splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("edge_store_requests_total{"))

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Waits for a condition; on a timeout, shows the state of the cluster."""
        wait_for(what, condition, seconds, self.state, 0.5)

    def state(self) -> str:
        """Conditions, pods, placements, the last events, the operator's log."""
        placements = json.dumps([p.get("status") for p in installation.placements(self.cluster)], indent=1)
        events = self._shown("get", "events", "-A", "--sort-by=.lastTimestamp", "--no-headers")
        log = self._shown("logs", "-n", "edge-intelligence", "deploy/edge-operator", "--tail=15")
        return "\n".join([installation.state(self.cluster), placements, *events.splitlines()[-15:], log])

    def _shown(self, *argv: str) -> str:
        """What kubectl prints, or why it failed: pods that restart have no log."""
        try:
            return self.cluster.kubectl(*argv)
        except TestbedError as error:
            return str(error)

    def routes(self, node: str, service: str, namespace: str = "default") -> str:
        """A node's routes with what they need, and what its runtime has measured; why not, if it is gone."""
        try:
            return self._routes(node, service, namespace)
        except (TestbedError, DemoError, subprocess.SubprocessError) as error:
            return str(error)

    def _routes(self, node: str, service: str, namespace: str) -> str:
        table = [
            {key: route.get(key) for key in ("name", "minBandwidth", "predictedLatency")}
            for route in self.get("placement", f"{service}.{node}", namespace)["spec"]["routes"]
        ]
        return "\n".join([*map(json.dumps, table), *self.metrics(node, namespace)])

    def entrance(self, node: str, host: str | None = None, namespace: str = "default") -> Entrance:
        """How a client on a node reaches a Kubernetes Service. Default: that of the node's runtime."""
        name = host or installation.runtime_service(self.cluster, node, namespace)
        return self.cluster.entrance(node, namespace, name)

    def metrics(self, node: str, namespace: str = "default") -> list[str]:
        """The lines of the node's runtime on its own metrics, without buckets."""
        entrance = self.entrance(node, namespace=namespace)
        url = f"http://{entrance.host}:{entrance.http}/metrics"
        argv = [*entrance.prefix, sys.executable, "-c", READ, url]
        text = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
        return [line for line in text.splitlines() if line.startswith("edge_") and "_bucket" not in line]

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Edge nodes as fast as the machine: pods start sooner. For tests that do not depend on routes."""
        try:
            for node in NODES:
                self.bed.node(node.name).set_speed(None)
            yield
        finally:
            self.cluster.set_speeds(self.speeds)

    @contextmanager
    def older_pool(self, pool: Document) -> Iterator[None]:
        """A DevicePool that is older than the example's, so that the nodes that both select belong to it.

        The example's pool is created again after it; its selectors stay, so nothing is measured again. At the
        end, the pool is deleted, and the example is Ready at all of its nodes.
        """
        kubectl, name = self.cluster.kubectl, pool["metadata"]["name"]
        kubectl("apply", "-f", "-", text=yaml.safe_dump(pool))
        try:
            # Of pools of one second, the name decides.
            while self.created("factory") <= self.created(name):
                kubectl("delete", "devicepool", "factory", "--wait=false")
                # Its deletion waits for the example. Before the operator has seen it, it is gone at once.
                with suppress(KubectlFailed):
                    kubectl("patch", "devicepool", "factory", "--type=merge", "-p", UNPROTECTED)
                installation.apply(self.cluster, self.root, self.slo)
            yield
        finally:
            kubectl("delete", "devicepool", name, "--ignore-not-found", "--timeout=120s")
            self.wait("the example at all of its nodes", self.serves_everywhere, 300)
            planned = lambda: self.condition("digits", "Planned").get("status") == "True"  # noqa: E731
            self.wait("the example Planned", planned)

    def created(self, pool: str) -> str:
        """When the API server created a DevicePool, in whole seconds."""
        return str(self.get("devicepool", pool)["metadata"]["creationTimestamp"])

    def serves_everywhere(self) -> bool:
        """Whether the example's pool has all edge nodes, and the example is Ready there."""
        status = self.get("devicepool", "factory").get("status", {})
        ready = self.get("inferenceservice", "digits").get("status", {}).get("readyEntries")
        return (
            {node["name"] for node in status.get("nodes", [])} == {node.name for node in NODES}
            and ready == f"{len(NODES)}/{len(NODES)}"
            and self.condition("digits", "Ready").get("status") == "True"
        )

    @contextmanager
    def with_fields(self, **fields: Any) -> Iterator[None]:
        """The example with these fields of its spec, carried out at every node; without them at the end."""
        self.patch(fields)
        try:
            self.wait("the fields at every node", lambda: self.carries_out(fields))
            yield
        finally:
            self.patch(dict.fromkeys(fields))

    def patch(self, spec: Mapping[str, Any]) -> None:
        """Merges fields into the example's spec."""
        change = json.dumps({"spec": spec})
        self.cluster.kubectl(
            "patch", "inferenceservice", "digits", "-n", "default", "--type", "merge", "-p", change
        )

    def carries_out(self, fields: Mapping[str, Any]) -> bool:
        """Whether every Placement has these fields and is loaded."""
        return all(
            all(placement["spec"].get(name) == value for name, value in fields.items())
            and bool(placement.get("status", {}).get("loaded"))
            and placement["status"].get("observedGeneration") == placement["metadata"]["generation"]
            for placement in self.placements().values()
        )

    def ask(
        self,
        node: str,
        protocol: str = "http",
        index: int = 0,
        count: int = 1,
        service: str = "digits",
        *,
        tls: Path | None = None,
        host: str | None = None,
        namespace: str = "default",
    ) -> Answer:
        """Sends a request to the service at a node from the node's network; `tls`: folder of certificates.

        host: the name of the Kubernetes Service to use, also one that the node does not know yet. Default:
        that of the runtime there.
        """
        entrance = self.entrance(node, host, namespace)
        port = entrance.http if protocol == "http" else entrance.grpc
        argv = [*entrance.prefix, sys.executable, str(ASK), "--protocol", protocol]
        argv += ["--address", f"{entrance.host}:{port}", "--model", service, "--index", str(index)]
        argv += ["--count", str(count), "--held-out", str(self.trained.held_out)]
        argv += ["--tls", str(tls)] if tls is not None else []
        argv += ["--connect-within", "60"] if host is not None else []
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{node} over {protocol}: no response in 120 s\n{self.state()}") from error
        assert done.returncode == 0, f"{node} over {protocol}: {done.stderr[-2000:]}\n{self.state()}"
        answer = json.loads(done.stdout)
        return Answer(**{**answer, "values": np.array(answer["values"], dtype=np.float32)})

    def listed_exits(self) -> list[Document]:
        """The example's exits as its file lists them, from the first to the final one."""
        return _exits(self._session())

    def exits(self) -> list[str]:
        """Their names."""
        return [str(found["name"]) for found in self.listed_exits()]

    def accuracies(self) -> dict[str, float]:
        """What the example declares for each exit."""
        return {str(found["name"]): float(found["accuracy"]) for found in self.listed_exits()}

    def whole(self, exit_name: str, index: int = 0, count: int = 1) -> npt.NDArray[np.float32]:
        """The result of the uncut model at that exit, computed here by onnxruntime."""
        session = self._session()
        output = next(found["output"] for found in _exits(session) if found["name"] == exit_name)
        images = LabeledImages.load(self.trained.held_out).images[index : index + count]
        values: npt.NDArray[np.float32] = session.run([output], {"image": images})[0]
        return values

    def _session(self) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(self.trained.onnx, providers=["CPUExecutionProvider"])

    @contextmanager
    def load(
        self,
        node: str,
        rate: float = 4.0,
        protocol: str = "http",
        service: str = "digits",
        host: str | None = None,
        namespace: str = "default",
        *,
        entrance: Entrance | None = None,
    ) -> Iterator[Load]:
        """Requests at a steady rate (1/s) while the block runs; those in flight are awaited at its end.

        host: the name of the Kubernetes Service to use. Default: that of the node's runtime.
        entrance: another address.
        """
        entrance = entrance or self.entrance(node, host, namespace)
        argv = [*entrance.prefix, sys.executable, "-m", "demo.client", "--node", node]
        argv += ["--model", service, "--host", entrance.host, "--http", str(entrance.http)]
        argv += ["--grpc", str(entrance.grpc), "--protocol", protocol, "--rate", str(rate)]
        argv += ["--timeout", "30", "--held-out", str(self.trained.held_out)]
        found = Load(node, lambda: f"{self.routes(node, service, namespace)}\n{self.state()}")
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            reader = threading.Thread(target=found.receive, args=(process.stdout,))
            reader.start()
            try:
                process.stdin.write("start\n")
                process.stdin.flush()
                found.wait_for("any content", lambda _: True)
                yield found
                process.stdin.write("stop\n")
                process.stdin.flush()
            finally:
                process.stdin.close()
                reader.join(timeout=60)
                process.terminate()


def _exits(session: onnxruntime.InferenceSession) -> list[Document]:
    found: list[Document] = json.loads(session.get_modelmeta().custom_metadata_map["edge.exits"])
    return found
