"""What runs on the cluster beside the user's services: DNS, Triton, Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MANIFESTS = Path(__file__).with_name("manifests")
AVAILABLE_SECONDS = 180
Kubectl = Callable[..., str]


def apply(kubectl: Kubectl, name: str) -> None:
    """Applies `manifests/NAME.yaml`."""
    kubectl("apply", "-f", str(MANIFESTS / f"{name}.yaml"))


def wait_available(kubectl: Kubectl, namespace: str, deployment: str) -> None:
    """Waits until the deployment's pods are ready; kubectl's sentence says what is not."""
    kubectl(
        "-n", namespace, "rollout", "status", f"deployment/{deployment}", f"--timeout={AVAILABLE_SECONDS}s"
    )
