"""Runs the demo on an existing cluster: kubectl and helm from PATH, the cluster of KUBECONFIG."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from demo.clusters import Entrance, Images, Say, Step, TritonAddress
from demo.errors import NotSuited, StepFailed

EXAMPLE = "examples/01-digits"
CLASS_LABEL = "edge-intelligence.io/device-class"
FORWARDED = re.compile(r"^Forwarding from 127\.0\.0\.1:(?P<local>\d+) -> (?P<remote>\d+)")


def images_from(environment: Mapping[str, str]) -> Images:
    """Returns the images of OPERATOR_IMAGE and RUNTIME_IMAGE. Raises NotSuited with the missing variables."""
    missing = [name for name in ("OPERATOR_IMAGE", "RUNTIME_IMAGE") if not environment.get(name)]
    if missing:
        raise NotSuited(
            f"{' and '.join(missing)} not set: push the images of the Dockerfile's targets operator and "
            "runtime to a registry of the cluster, and set the variables to their references"
        )
    return Images(environment["OPERATOR_IMAGE"], environment["RUNTIME_IMAGE"])


@dataclass
class ExistingCluster:
    """Does not change links; the client reaches the entry nodes through `kubectl port-forward`."""

    images: Images
    triton: TritonAddress | None
    # Operator and model store run at the cloud end of the link, on the labeled node.
    cloud_selector: Mapping[str, str] = field(
        default_factory=lambda: {"edge-intelligence.io/device-class": "cloud"}
    )
    shaped: bool = False
    _forwards: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, step: Step, say: Say) -> None:
        with step("cluster"):
            for program in ("kubectl", "helm"):
                if shutil.which(program) is None:
                    raise NotSuited(
                        f"{program} is not on PATH: install it, or run the demo without --cluster"
                    )
            names = self.kubectl("get", "nodes", "-l", CLASS_LABEL, "-o", "name").split()
            if not names:
                raise NotSuited(
                    f"no node has the label {CLASS_LABEL}: give one to every entry node, e.g. "
                    f"`kubectl label node NAME {CLASS_LABEL}=gateway`, and cloud to the node of Triton"
                )
            say(f"{len(names)} labeled nodes; their links are not shaped")

    def set_speeds(self, speeds: Mapping[str, float | None]) -> None:
        """Does nothing: the demo does not limit the nodes of an existing cluster."""

    def pin(self, nodes: Sequence[str]) -> None:
        """Does nothing: the demo does not limit the nodes of an existing cluster."""

    def kubectl(self, *args: str, text: str | None = None) -> str:
        return run("kubectl", args, text)

    def helm(self, *args: str) -> str:
        return run("helm", args)

    def entrance(self, node: str, namespace: str, service: str) -> Entrance:
        ports = self._forward(namespace, service, "8080", "8081")
        return Entrance((), "127.0.0.1", ports["8080"], ports["8081"])

    def reach(self, namespace: str, service: str) -> Entrance:
        return Entrance((), "127.0.0.1", self._forward(namespace, service, "8080")["8080"])

    def _forward(self, namespace: str, service: str, *wanted: str) -> Mapping[str, int]:
        """Returns the local ports by the wanted ones."""
        argv = ["kubectl", "port-forward", "-n", namespace, f"service/{service}"]
        argv += [f":{port}" for port in wanted]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self._forwards.append(process)
        ports: dict[str, int] = {}
        for line in process.stdout or ():
            if found := FORWARDED.match(line):
                ports[found["remote"]] = int(found["local"])
            if len(ports) == len(wanted):
                return ports
        raise StepFailed(f"kubectl port-forward to service {namespace}/{service} ended with {process.wait()}")

    def set_links(self, bps: float | None) -> None:
        """Does nothing: the demo does not shape the links of an existing cluster."""

    def stop(self) -> None:
        while self._forwards:
            process = self._forwards.pop()
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)

    def where_to_look(self) -> Sequence[str]:
        return (
            "kubectl describe inferenceservice digits",
            "kubectl get pods,placements -A -o wide",
            "kubectl logs -n edge-intelligence deploy/edge-operator",
        )

    def try_next(self) -> Sequence[str]:
        return (
            "kubectl get inferenceservices -A",
            "kubectl get placements -w",
            "kubectl port-forward -n edge-intelligence service/edge-console 8080  # docs/console.md",
            f"kubectl delete -f {EXAMPLE}",
        )


def run(program: str, args: Sequence[str], text: str | None = None) -> str:
    """Returns the program's output. Raises StepFailed with the output if it fails."""
    argv = [program, *args]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        raise StepFailed(
            f"`{' '.join(argv)}` ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}"
        )
    return done.stdout
