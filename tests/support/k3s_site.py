"""A cluster that is like K3s, with a server and one entry node, and what tests of the chart do on it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from demo.training import TrainedModel
from testbed import NodeSpec, Testbed
from testbed.binaries import HELM_4, Binaries
from testbed.errors import KubectlFailed
from testbed.processes import run, wait_until

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "edge-intelligence"
NAMESPACE, RELEASE = "edge-intelligence", "edge-intelligence"
EDGE = NodeSpec("edge-a", "gateway")
PATIENCE = 300.0
POOL: dict[str, Any] = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "DevicePool",
    "metadata": {"name": "factory"},
    "spec": {
        "nodes": [
            {
                "tier": "Edge",
                "deviceClass": EDGE.device_class,
                "nodeSelector": {"edge-intelligence.io/device-class": EDGE.device_class},
            }
        ]
    },
}
SERVICE: dict[str, Any] = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "digits", "namespace": "default"},
    "spec": {
        "model": {"storageUri": "store://digits/digits.onnx"},
        "slo": {"latency": "1s"},
        "devicePool": "factory",
        "mode": "LocalOnly",
        "exposure": {"type": "NodePort", "httpPort": 30080},
    },
}
UNPROTECTED = json.dumps({"metadata": {"finalizers": None}})
CALL = """
import json, sys, time, urllib.request
url, wanted = sys.argv[1], json.loads(sys.argv[2])
while True:
    try:
        with urllib.request.urlopen(f"{url}/v2/models/digits", timeout=10) as response:
            tensor = json.load(response)["inputs"][0]
        shape = [max(size, 1) for size in tensor["shape"]]
        count = 1
        for size in shape:
            count *= size
        body = {"inputs": [tensor | {"shape": shape, "data": [0] * count}]}
        data, path = json.dumps(body).encode(), f"{url}/v2/models/digits/infer"
        with urllib.request.urlopen(path, data, timeout=10) as response:
            print(json.dumps({"outputs": len(json.load(response)["outputs"])}), flush=True)
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)
    if not wanted:
        break
    time.sleep(0.05)
"""


@dataclass
class Traffic:
    """Requests from outside the cluster, one after another; `responses` grows while they are sent."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def responses(self) -> list[dict[str, Any]]:
        """The responses until now."""
        return [json.loads(line) for line in self.output.read_text().splitlines() if line.endswith("}")]

    def stop(self) -> list[dict[str, Any]]:
        """Returns all responses."""
        self.process.terminate()
        self.process.wait()
        found = self.responses
        self.output.unlink()
        return found


@dataclass(frozen=True)
class Site:
    """The cluster, and what the tests do on it."""

    bed: Testbed
    model: TrainedModel

    def helm(self, *args: str) -> str:
        return self.bed.helm(*args, "--namespace", NAMESPACE)

    def helm_4(self, *args: str) -> str:
        """Runs Helm 4, which applies objects on the server side."""
        program = Binaries(self.bed.layout.binaries, print).one(HELM_4)
        flags = (f"--kubeconfig={self.bed.layout.kubeconfig}", "--namespace", NAMESPACE)
        return run([*self.bed.in_node("cloud"), str(program), *args, *flags])

    def install(self, *args: str, chart: Path = CHART) -> str:
        """Installs without values but for those in `args`; returns when all parts are available."""
        created = ("--create-namespace", "--wait", "--timeout", f"{PATIENCE:g}s")
        return self.helm("install", RELEASE, str(chart), *created, *args)

    def uninstall(self) -> None:
        self.helm("uninstall", RELEASE, "--ignore-not-found", "--wait")

    def clear(self) -> None:
        """Removes the release with its namespace, its CRDs and their objects, whatever state they are in."""
        for kind in ("inferenceservices", "devicepools", "tenants"):
            with suppress(KubectlFailed):  # without the CRD, there is no such kind
                self.bed.kubectl("delete", kind, "-A", "--all", "--wait=false")
        self.uninstall()
        self.unprotect()
        crds = [name for name in self.uids() if name.endswith(".edge-intelligence.io")]
        if crds:
            self.bed.kubectl("delete", "crd", *crds, "--timeout=60s")
        # Without an operator, runtimes stay.
        gone = ("--ignore-not-found", "--timeout=120s")
        self.bed.kubectl("delete", "deployments", "--all", "-n", "default", "--cascade=foreground", *gone)
        self.bed.kubectl("delete", "namespace", NAMESPACE, *gone)

    def unprotect(self) -> None:
        """Removes all finalizers, as its page says for a release whose hook did not run."""
        for kind in ("inferenceservices", "devicepools", "tenants"):
            with suppress(KubectlFailed):
                for body in self.get(kind, "-A")["items"]:
                    name, namespace = body["metadata"]["name"], body["metadata"].get("namespace")
                    place = ("-n", namespace) if namespace else ()
                    self.bed.kubectl("patch", kind, name, *place, "--type=merge", "-p", UNPROTECTED)

    def get(self, *args: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.bed.kubectl("get", *args, "-o", "json"))
        return found

    def apply(self, *objects: dict[str, Any]) -> None:
        self.bed.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))

    def upload(self) -> None:
        """Puts the digits model into the store, as a pod's owner would from the command line."""
        token = self.bed.kubectl(
            "create", "token", "default", "-n", "default", "--audience", "edge-model-store"
        ).strip()
        address = self.get("service", "model-store", "-n", NAMESPACE)["spec"]["clusterIP"]
        authority = self.get("configmap", "edge-ca", "-n", NAMESPACE)["data"]["ca.crt"]
        argv = [*self.bed.in_node("cloud"), sys.executable, "-m", "demo.uploading", address, "8080"]
        given = {"token": token, "name": f"model-store.{NAMESPACE}.svc", "authority": authority}
        subprocess.run(
            [*argv, "/v1/files/digits/digits.onnx", str(self.model.onnx)],
            input=json.dumps(given),
            text=True,
            check=True,
            capture_output=True,
        )

    def serve(self) -> None:
        """Uploads the model and applies the service; returns when it is Ready."""
        self.upload()
        self.apply(POOL, SERVICE)
        self.wait_ready()

    def wait_ready(self) -> None:
        self.wait(lambda: self.conditions().get("Ready") == "True", "digits is not Ready")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, PATIENCE, lambda: f"{what}: {self.state()}", every_seconds=0.5)

    def conditions(self) -> dict[str, str]:
        found = self.bed.kubectl(
            *("get", "inferenceservice", "digits", "-n", "default", "--ignore-not-found", "-o", "json")
        )
        status = (json.loads(found or "{}")).get("status") or {}
        return {each["type"]: each["status"] for each in status.get("conditions") or ()}

    def state(self) -> str:
        """What a failure shows."""
        pods = self.bed.kubectl("get", "pods", "-A", "-o", "wide", "--no-headers")
        try:
            service = self.bed.kubectl("describe", "inferenceservice", "digits", "-n", "default")
        except KubectlFailed as error:
            service = str(error)
        return f"{pods}\n{service[-3000:]}"

    def uids(self) -> dict[str, str]:
        """Returns the uids of the CRDs, and of the objects of people."""
        found = {
            crd["metadata"]["name"]: crd["metadata"]["uid"]
            for crd in self.get("crd")["items"]
            if crd["spec"]["group"] == "edge-intelligence.io"
        }
        for kind in ("inferenceservices", "devicepools") if found else ():
            for body in self.get(kind, "-A")["items"]:
                found[f"{kind}/{body['metadata']['name']}"] = body["metadata"]["uid"]
        return found

    def traffic(self, *, forever: bool = True, url: str = "", node: str = "cloud") -> Traffic:
        """Sends requests from outside of pods. url: default: the declared port of the entry node.

        node: in whose network the client is.
        """
        url = url or f"http://{self.bed.topology.address(EDGE.name)}:30080"
        argv = [*self.bed.in_node(node), sys.executable, "-c", CALL, url, json.dumps(forever)]
        file, path = tempfile.mkstemp(prefix="traffic-", dir=self.bed.layout.state)
        try:
            return Traffic(subprocess.Popen(argv, stdout=file), Path(path))
        finally:
            os.close(file)
