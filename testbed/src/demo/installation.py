"""Installs the operator, uploads the model, applies the example, and changes its mode."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from demo import calibration
from demo.clusters import DemoCluster, Entrance, Say, TritonAddress
from demo.errors import DemoError, NotInTime, StepFailed
from demo.services import condition_lines, measured, not_carried_out, ready, slo_seconds
from demo.training import TrainedModel
from testbed import TestbedError

NAMESPACE, RELEASE, SERVICE = "edge-intelligence", "edge-intelligence", "digits"
EXAMPLE = Path("examples/01-digits")
CHART = Path("charts/edge-intelligence")
STORE_NAME = f"model-store.{NAMESPACE}.svc"
STORED_AT = "digits/digits.onnx"
STORE_AUDIENCE, TOKEN_LIFETIME = "edge-model-store", "10m"
_SELECTS_NOTHING = json.dumps({"spec": {"namespaceSelector": {"matchLabels": {"selects": "nothing"}}}})
READY_SECONDS, MODE_SECONDS, HELM_SECONDS = 600.0, 180.0, 180


def chart_values(cluster: DemoCluster) -> dict[str, Any]:
    """The chart's values that the demo sets."""
    operator, _, operator_tag = cluster.images.operator.rpartition(":")
    runtime, _, runtime_tag = cluster.images.runtime.rpartition(":")
    return {
        "operator": {
            "replicas": 1,  # the machine of the demo has few cores
            "image": {"repository": operator, "tag": operator_tag},
            "nodeSelector": dict(cluster.cloud_selector),
            "tritonControlSecrets": ["triton-control"] if cluster.triton is None else [],
        },
        "runtime": {"image": {"repository": runtime, "tag": runtime_tag}},
        "store": {
            "nodeSelector": dict(cluster.cloud_selector),
            "fetching": {"nodeSelector": dict(cluster.cloud_selector)},
        },
    }


def install(cluster: DemoCluster, root: Path, *settings: str) -> None:
    """Installs the chart with helm and more `settings` (`key=value`); returns when the operator and the model
    store are available.
    """
    values = root / "build" / "demo" / "values.yaml"
    values.parent.mkdir(parents=True, exist_ok=True)
    values.write_text(yaml.safe_dump(chart_values(cluster)))
    try:
        _helm(cluster, root, values, [word for setting in settings for word in ("--set", setting)])
    except (DemoError, TestbedError) as error:
        # The cluster may be torn down before the message is read, so include the state of its pods.
        pods = cluster.kubectl("get", "pods", "-n", NAMESPACE, "-o", "wide")
        events = cluster.kubectl("get", "events", "-n", NAMESPACE, "--no-headers", "--sort-by=.lastTimestamp")
        raise StepFailed("\n".join([str(error), pods, *events.splitlines()[-10:]])) from error


def _helm(cluster: DemoCluster, root: Path, values: Path, more: Sequence[str]) -> None:
    cluster.helm(
        "upgrade",
        "--install",
        RELEASE,
        str(root / CHART),
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--values",
        str(values),
        *more,
        "--wait",
        "--timeout",
        f"{HELM_SECONDS}s",
    )


def upload(cluster: DemoCluster, file: Path, name: str = STORED_AT, namespace: str = "default") -> str:
    """Uploads a file to the model store for the services of a namespace; returns its digest.

    Shows a token of the namespace's default ServiceAccount. Raises StepFailed with the store's message.
    """
    asked = ("--audience", STORE_AUDIENCE, "--duration", TOKEN_LIFETIME)
    token = cluster.kubectl("create", "token", "default", "-n", namespace, *asked).strip()
    entrance = cluster.reach(NAMESPACE, "model-store")
    where = (entrance.host, str(entrance.http), f"/v1/files/{name}")
    argv = [*entrance.prefix, sys.executable, "-m", "demo.uploading", *where, str(file)]
    given = json.dumps({"token": token, "name": STORE_NAME, "authority": authority(cluster)})
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepFailed(f"upload of {file}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return str(json.loads(done.stdout)["digest"])


def authority(cluster: DemoCluster) -> str:
    """Returns the authority that issued the store's certificate, in PEM; empty if the store has none.

    Its ConfigMap remains if an installation changes from certificates of the operator to others.
    """
    arguments = "jsonpath={.spec.template.spec.containers[0].args}"
    if "--tls-dir" not in cluster.kubectl(
        "get", "deployment", "model-store", "-n", NAMESPACE, "-o", arguments
    ):
        return ""
    asked = ("configmap", "edge-ca", "-n", NAMESPACE, "--ignore-not-found", "-o", r"jsonpath={.data.ca\.crt}")
    return cluster.kubectl("get", *asked)


def example(root: Path, triton: TritonAddress | None, latency: float | None = None) -> list[dict[str, Any]]:
    """Returns the example's manifests, with another Triton server and SLO (`latency`, seconds) if given."""
    manifests = [yaml.safe_load(path.read_text()) for path in sorted((root / EXAMPLE).glob("*.yaml"))]
    for manifest in manifests:
        if manifest["kind"] == "DevicePool" and triton is not None:
            server = manifest["spec"]["tritonServers"][0]
            server |= {"httpAddress": triton.address, "backend": triton.backend}
            del server["controlSecret"], server["grpcAddress"]  # of the testbed's Triton
            if triton.node_selector:
                server["nodeSelector"] = dict(triton.node_selector)
        if manifest["kind"] == "InferenceService" and latency is not None:
            manifest["spec"]["slo"]["latency"] = f"{latency * 1e3:g}ms"
    return manifests


def apply(cluster: DemoCluster, root: Path, latency: float | None = None) -> None:
    """Applies examples/01-digits, with the cluster's Triton address and another SLO (seconds) if given."""
    if cluster.triton is None and latency is None:
        cluster.kubectl("apply", "-f", str(root / EXAMPLE))
    else:
        manifests = yaml.safe_dump_all(example(root, cluster.triton, latency))
        cluster.kubectl("apply", "-f", "-", text=manifests)


def delete_tenant(kubectl: Callable[..., str], name: str) -> None:
    """Deletes a Tenant if it exists. Its namespaces can have services, which then belong to no tenant."""
    if kubectl("get", "tenant", name, "--ignore-not-found", "-o", "name"):
        kubectl("patch", "tenant", name, "--type=merge", "-p", _SELECTS_NOTHING)
        kubectl("delete", "tenant", name, "--ignore-not-found", "--timeout=60s")


def set_speeds(cluster: DemoCluster, root: Path, model: TrainedModel, say: Say) -> dict[str, float]:
    """Sets the nodes' speeds so that the example's SLO requires a choice on this machine.

    Returns the speeds in cores by device class; empty if the demo cannot limit the nodes.
    """
    if not cluster.shaped:
        return {}
    slo = slo_seconds(next(m for m in example(root, None) if m["kind"] == "InferenceService"))
    full = calibration.full_model_seconds(model.onnx, model.held_out)
    speeds = calibration.speeds(full, slo)
    said = ", ".join(f"{name} {speed:g}" for name, speed in speeds.items())
    say(f"the full model takes {full * 1e3:.1f} ms of a core here; nodes get, in cores: {said}")
    cluster.set_speeds(speeds)
    return speeds


def settle_slo(cluster: DemoCluster, root: Path, say: Say) -> float:
    """Returns the SLO (s) of the service, which is Ready.

    If the measured profiles leave no choice with the example's SLO, applies another one first.
    """
    slo = slo_seconds(service(cluster))
    if not cluster.shaped:
        return slo
    profile = json.loads(cluster.kubectl("get", "modelprofile", SERVICE, "-n", "default", "-o", "json"))
    latency = calibration.latency(profile, slo)
    if latency != slo:
        say(f"by the measured profiles the SLO is {latency * 1e3:g} ms, not {slo * 1e3:g} ms, here")
        apply(cluster, root, latency)
        wait_ready(cluster, say)
    return latency


def service(cluster: DemoCluster) -> dict[str, Any]:
    """Reads the InferenceService."""
    found: dict[str, Any] = json.loads(
        cluster.kubectl("get", "inferenceservice", SERVICE, "-n", "default", "-o", "json")
    )
    return found


def placements(cluster: DemoCluster) -> list[Mapping[str, Any]]:
    """Reads its Placements."""
    label = f"edge-intelligence.io/service={SERVICE}"
    found = json.loads(cluster.kubectl("get", "placements", "-n", "default", "-l", label, "-o", "json"))
    return list(found["items"])


def wait_ready(cluster: DemoCluster, say: Say) -> None:
    """Waits until the service is Ready; prints every condition that changes."""
    shown: set[str] = set()

    def asked() -> bool:
        now = service(cluster)
        for line in condition_lines(now):
            if line not in shown:
                shown.add(line)
                say(line)
        return ready(now) and measured(now)

    wait_for(f"inferenceservice/{SERVICE} Ready", asked, READY_SECONDS, lambda: state(cluster))
    set_mode_reached(cluster, "Auto")


def set_mode(cluster: DemoCluster, mode: str) -> None:
    """Patches the mode; returns once every Placement has it and is loaded and warm."""
    patch = json.dumps({"spec": {"mode": mode}})
    cluster.kubectl("patch", "inferenceservice", SERVICE, "-n", "default", "--type", "merge", "-p", patch)
    set_mode_reached(cluster, mode)


def set_mode_reached(cluster: DemoCluster, mode: str) -> None:
    """Waits until every Placement has the mode and is loaded and warm. Raises NotInTime."""

    def missing() -> list[str]:
        return not_carried_out(placements(cluster), mode)

    wait_for(
        f"mode {mode}",
        lambda: not missing(),
        MODE_SECONDS,
        lambda: f"{'; '.join(missing())}. {state(cluster)}",
        0.5,
    )


def entrances(cluster: DemoCluster, nodes: Sequence[str], namespace: str = "default") -> dict[str, Entrance]:
    """Returns how to reach the services of a namespace at each entry node, by node."""
    services = {node: runtime_service(cluster, node, namespace) for node in nodes}
    return {node: cluster.entrance(node, namespace, name) for node, name in services.items()}


def runtime_service(cluster: DemoCluster, node: str, namespace: str = "default") -> str:
    """Returns the name of the Service of the namespace's shared runtime at a node."""
    label = f"edge-intelligence.io/node={node},edge-intelligence.io/isolation=Shared"
    found = cluster.kubectl("get", "services", "-n", namespace, "-l", label, "-o", "name").split()
    if not found:
        raise StepFailed(
            f"node {node}: no Service has the labels {label}: check that the operator is running"
        )
    return found[0].removeprefix("service/")


def state(cluster: DemoCluster) -> str:
    """Returns the state for troubleshooting: the conditions and the pods."""
    pods = cluster.kubectl("get", "pods", "-A", "--no-headers", "-o", "wide")
    return "\n".join(["Conditions:", *condition_lines(service(cluster)), "Pods:", pods])


def wait_for(
    what: str, ready: Callable[[], bool], seconds: float, state: Callable[[], str], every: float = 1.0
) -> None:
    """Polls until `ready` is True. Raises NotInTime with the state at the deadline."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise NotInTime(f"{what}: not within {seconds:g} s. {state()}")
        time.sleep(every)
