"""Faults of the API server, etcd, the operator and admission, and of certificates and clocks."""

from __future__ import annotations

import base64
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.faults.ground import OPERATOR, Ground
from benchmarks.faults.links import NODE
from benchmarks.faults.processes import require, signalled, stopped
from benchmarks.faults.runs import During, Fault, Site
from demo import installation
from demo.errors import StepFailed
from demo.services import not_carried_out
from edge_api import reasons
from edge_operator.authority.upkeep import OPERATOR_SECRET, STORE_SECRET
from edge_operator.nodes.peers import PEER_PORT, PEER_SECRET
from testbed import prerequisites
from testbed.topology import CLOUD

_AWAY_SECONDS: Final = 60.0
_SEEN_SECONDS: Final = 60.0
_OPERATOR: Final = "app.kubernetes.io/name=edge-operator"
_DEPLOYMENT: Final = ("deployment/edge-operator", "-n", OPERATOR)
_ADMISSION: Final = "edge-admission"
_ADMISSION_SECRET: Final = "edge-admission-tls"
_LIBRARIES: Final = "/opt/app/lib/python3.11/site-packages"
"""PYTHONPATH of the operator's image; see the Dockerfile."""
_KILL_POINTS: Final = Path(__file__).with_name("kill_points.py")
_ANOTHER: Final = "killed"
"""Name of a service that is created and deleted."""
_THIEF: Final = "thief"
_FAKETIME: Final = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
_OFF: Final = 300
"""Seconds by which clocks are off."""
_SERVED: Final = (
    "import ssl, sys; h, p = sys.argv[1:]; print(ssl.get_server_certificate((h, int(p)), timeout=5))"
)


@contextmanager
def api_server_away(during: During) -> Iterator[None]:
    """The API server hangs for longer than a Lease holds."""
    with stopped(during.ground.daemons("kube-apiserver"), "the API server"):
        until = time.monotonic() + _AWAY_SECONDS
        while time.monotonic() < until:
            during.take(1.0)
        yield


@contextmanager
def etcd_restarted(during: During) -> Iterator[None]:
    """The process of etcd is killed and started again."""
    require(signalled(during.ground.daemons("etcd"), signal.SIGKILL), "etcd")
    during.flow()
    yield


@contextmanager
def operator_killed(during: During) -> Iterator[None]:
    """The operator's processes are killed while it carries out a change of the service's spec."""
    with during.changed():
        require(signalled(during.ground.pids(OPERATOR, _OPERATOR), signal.SIGKILL), "the operator")
    yield


@contextmanager
def operator_killed_at_actions(during: During) -> Iterator[None]:
    """The operator ends before or after a request of each kind, and the next one completes the work."""
    ground = during.ground
    steps: tuple[tuple[str, Callable[[], None], Callable[[], bool]], ...] = (
        ("before PATCH placements", *_autonomy(ground, 90)),
        ("after PATCH placements", *_autonomy(ground, 91)),
        ("before PATCH inferenceservices/status", *_autonomy(ground, 92)),
        ("before unload", *_mode(ground, "LocalOnly")),
        ("before POST slices", *_mode(ground, "Auto")),
        ("after unload", *_mode(ground, "LocalOnly")),
        ("after load", *_mode(ground, "Auto")),
        ("after PATCH inferenceservices", partial(_create, ground), partial(_is_ready, ground)),
        ("before DELETE placements", partial(_delete, ground), partial(_is_gone, ground)),
    )
    try:
        for point, change, done in steps:
            _killed_at(during, point, change)
            during.wait(f"{point}: the change carried out", done)
        yield
    finally:
        _delete(ground)
        ground.change(autonomy=None, mode="Auto")


def _autonomy(ground: Ground, minutes: int) -> tuple[Callable[[], None], Callable[[], bool]]:
    """A change of the service's autonomy, and whether it is carried out. minutes: from 60 to 119."""

    def change() -> None:
        ground.change(autonomy=f"{minutes}m")

    return change, lambda: ground.carried_out(autonomy=f"1h{minutes - 60}m0s")


def _mode(ground: Ground, mode: str) -> tuple[Callable[[], None], Callable[[], bool]]:
    """A change of the service's mode, and whether it is carried out."""

    def change() -> None:
        ground.change(mode=mode)

    return change, lambda: not not_carried_out(installation.placements(ground.cluster), mode)


def _killed_at(during: During, point: str, change: Callable[[], None]) -> None:
    """Makes a change, and waits until the operator has ended at a request; a new pod follows at once."""
    ground = during.ground
    during.wait("the operator", lambda: len(ground.pids(OPERATOR, _OPERATOR, "edge-operator")) == 1)
    (process,) = ground.pids(OPERATOR, _OPERATOR, "edge-operator")
    Path(f"/proc/{process}/root/tmp/kill-at").write_text(point)
    change()
    try:
        during.wait(point, lambda: not Path(f"/proc/{process}").exists(), _SEEN_SECONDS)
    except StepFailed:
        during.broke(f"{point}: the operator has sent no such request in {_SEEN_SECONDS:g} s")
    # The kubelet would wait longer before each further start of one pod.
    ground.kubectl("delete", "pod", "-n", OPERATOR, "-l", _OPERATOR, "--force", "--grace-period=0")


def _create(ground: Ground) -> None:
    body = ground.get("inferenceservice", ground.service, "-n", ground.namespace)
    spec = {name: body["spec"][name] for name in ("model", "slo", "devicePool")} | {"mode": "LocalOnly"}
    metadata = {"name": _ANOTHER, "namespace": ground.namespace}
    wanted = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "spec": spec}
    ground.kubectl("apply", "-f", "-", text=json.dumps(wanted))


def _delete(ground: Ground) -> None:
    ground.kubectl(
        "delete", "inferenceservice", _ANOTHER, "-n", ground.namespace, "--ignore-not-found", "--wait=false"
    )


def _is_ready(ground: Ground) -> bool:
    return bool(ground.condition(_ANOTHER, "Ready").get("status") == "True")


def _is_gone(ground: Ground) -> bool:
    names = ground.kubectl("get", "inferenceservices,placements", "-n", ground.namespace, "-o", "name")
    return not any(name.partition("/")[2].partition(".")[0] == _ANOTHER for name in names.split())


@contextmanager
def kill_points(ground: Ground) -> Iterator[Site]:
    """An operator that can end at a request."""
    with _with_files(ground, "kill-points", {"sitecustomize.py": _KILL_POINTS.read_bytes()}, OPERATOR):
        variables = [{"name": "PYTHONPATH", "value": f"/kill-points:{_LIBRARIES}"}]
        with _patched(ground, *_DEPLOYMENT, container="operator", files="kill-points", env=variables):
            yield Site(ground)


@contextmanager
def lease_stolen(during: During) -> Iterator[None]:
    """A leader is stopped in a change and continues beside its successor; then a stranger takes the Lease."""
    ground = during.ground
    leader = _holder(ground)
    ground.change(autonomy="90m")
    try:
        with stopped(ground.pod_pids(OPERATOR, leader.partition("_")[0]), "the leader"):
            during.wait("another leader", lambda: _holder(ground) not in ("", leader))
            during.wait("the change", lambda: ground.carried_out(autonomy="1h30m0s"))
        ground.change(autonomy="91m")
        during.wait("the next change", lambda: ground.carried_out(autonomy="1h31m0s"))
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        stolen = {"holderIdentity": _THIEF, "acquireTime": now, "renewTime": now}
        ground.patch("lease/edge-operator", {"spec": stolen}, namespace=OPERATOR)
        during.wait("a leader after the thief", lambda: _holder(ground) not in ("", _THIEF))
        ground.change(autonomy="92m")
        during.wait("a change after it", lambda: ground.carried_out(autonomy="1h32m0s"))
    finally:
        ground.change(autonomy=None)
    yield


def _holder(ground: Ground) -> str:
    return str(ground.get("lease", "edge-operator", "-n", OPERATOR)["spec"].get("holderIdentity", ""))


@contextmanager
def two_operators(ground: Ground) -> Iterator[Site]:
    """Two replicas of the operator, both with everything in memory."""
    ground.kubectl("scale", "--replicas=2", *_DEPLOYMENT)
    try:
        ground.kubectl("rollout", "status", *_DEPLOYMENT, "--timeout=240s")
        yield Site(ground, settled={"two operators are ready": partial(_available, ground, 2)})
    finally:
        ground.kubectl("scale", "--replicas=1", *_DEPLOYMENT)
        ground.wait("one operator", partial(_available, ground, 1))


def _available(ground: Ground, count: int) -> bool:
    status = ground.get(*_DEPLOYMENT)["status"]
    return bool(status.get("availableReplicas") == status.get("replicas") == count)


@contextmanager
def admission_away(during: During) -> Iterator[None]:
    """No pod of the webhook runs; changes are accepted and carried out."""
    ground = during.ground
    where = (f"deployment/{_ADMISSION}", "-n", OPERATOR)
    replicas = ground.get(*where)["spec"]["replicas"]
    ground.kubectl("scale", "--replicas=0", *where)
    try:
        during.wait("no pod of the webhook", lambda: not _pods(ground, _ADMISSION))
        with during.changed():
            during.flow()
    finally:
        ground.kubectl("scale", f"--replicas={replicas}", *where)
    yield


def _pods(ground: Ground, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ground.get("pods", "-n", OPERATOR, "-l", f"app.kubernetes.io/name={name}")[
        "items"
    ]
    return found


@contextmanager
def admitting(ground: Ground) -> Iterator[Site]:
    """The webhook reviews: a service on an unknown pool causes a warning."""

    def reviews() -> bool:
        body = ground.get("inferenceservice", ground.service, "-n", ground.namespace)
        spec = {name: body["spec"][name] for name in ("model", "slo")} | {"devicePool": "nowhere"}
        metadata = {"name": "reviewed", "namespace": ground.namespace}
        wanted = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "spec": spec}
        command = ground.bed.client_command("kubectl", ["apply", "--dry-run=server", "-f", "-"])
        done = subprocess.run(command, input=json.dumps(wanted), capture_output=True, text=True, check=False)
        return reasons.UNKNOWN_POOL in done.stderr

    ground.wait("a review", reviews)
    yield Site(ground, settled={"the webhook reviews": reviews})


@contextmanager
def certificates_rotated(during: During) -> Iterator[None]:
    """All certificates are deleted, issued again, and loaded by everything that serves with them."""
    ground = during.ground
    secrets = (
        (OPERATOR, STORE_SECRET),
        (OPERATOR, OPERATOR_SECRET),
        (OPERATOR, _ADMISSION_SECRET),
        (ground.namespace, PEER_SECRET),
    )
    before = {secret: _certificate(ground, *secret) for secret in secrets}
    for namespace, name in secrets:
        ground.kubectl("delete", "secret", name, "-n", namespace)
    ground.kubectl("rollout", "restart", *_DEPLOYMENT)

    def issued() -> bool:
        now = {secret: _certificate(ground, *secret) for secret in secrets}
        return all(now[secret] not in ("", before[secret]) for secret in secrets)

    during.wait("new certificates", issued)
    store = _certificate(ground, OPERATOR, STORE_SECRET)
    peers = _certificate(ground, ground.namespace, PEER_SECRET)
    address = ground.get("service", "model-store", "-n", OPERATOR)["spec"]["clusterIP"]
    during.wait("the store's new certificate served", partial(_serves, ground, address, 8080, store))
    for pod in ground.get("pods", "-n", ground.namespace, "-l", "edge-intelligence.io/node")["items"]:
        at = pod["status"]["podIP"]
        what = f"the new certificate of {pod['metadata']['name']} served"
        during.wait(what, partial(_serves, ground, at, PEER_PORT, peers))
    yield


def _certificate(ground: Ground, namespace: str, name: str) -> str:
    """Returns the first certificate of a Secret in PEM, or an empty string if the Secret does not exist."""
    found = ground.kubectl("get", "secret", name, "-n", namespace, "--ignore-not-found", "-o", "json")
    if not found.strip():
        return ""
    chain = base64.b64decode(json.loads(found)["data"]["tls.crt"]).decode()
    return _first(chain)


def _serves(ground: Ground, host: str, port: int, certificate: str) -> bool:
    """Whether a server presents this certificate."""
    argv = [*ground.bed.in_node(CLOUD), sys.executable, "-c", _SERVED, host, str(port)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return _first(done.stdout) == certificate


def _first(chain: str) -> str:
    end = chain.find(ssl.PEM_FOOTER)
    return "" if end < 0 else "".join(chain[: end + len(ssl.PEM_FOOTER)].split())


@contextmanager
def clocks_off(during: During) -> Iterator[None]:
    """The operator's clock is 5 minutes ahead and that of a node's runtime 5 minutes behind."""
    ground = during.ground
    runtime = installation.runtime_service(ground.cluster, NODE, ground.namespace)
    of_node = (f"deployment/{runtime}", "-n", ground.namespace)
    with (
        _off_by(ground, _OFF, *_DEPLOYMENT, container="operator"),
        _off_by(ground, -_OFF, *of_node, container="runtime"),
    ):
        ground.kubectl("delete", "secret", PEER_SECRET, "-n", ground.namespace)
        ground.kubectl("rollout", "restart", *_DEPLOYMENT)
        during.wait("a certificate", lambda: bool(_certificate(ground, ground.namespace, PEER_SECRET)))
        with during.changed():
            during.flow()
        yield


@contextmanager
def faketime(ground: Ground) -> Iterator[Site]:
    """Libfaketime in the namespaces of the operator and of the example's runtimes."""
    prerequisites.check(ground.say, {_FAKETIME: "libfaketime"})
    library = {"libfaketime.so.1": Path(_FAKETIME).read_bytes()}
    with (
        ground.unlimited(),
        _with_files(ground, "faketime", library, OPERATOR),
        _with_files(ground, "faketime", library, ground.namespace),
    ):
        yield Site(ground)


@contextmanager
def _off_by(ground: Ground, seconds: int, *deployment: str, container: str) -> Iterator[None]:
    """The clock of a Deployment's pods is off; that of the monotonic clock, by which they wait, is not."""
    values = {
        "LD_PRELOAD": "/faketime/libfaketime.so.1",
        "FAKETIME": f"{seconds:+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
    }
    env = [{"name": name, "value": value} for name, value in values.items()]
    with _patched(ground, *deployment, container=container, files="faketime", env=env):
        yield


@contextmanager
def _patched(
    ground: Ground, *deployment: str, container: str, files: str, env: list[dict[str, str]]
) -> Iterator[None]:
    """A Deployment whose container has more variables, and the files of a ConfigMap in /FILES."""
    mount = {"name": files, "mountPath": f"/{files}"}
    with_files = {"name": container, "env": env, "volumeMounts": [mount]}
    volume = {"name": files, "configMap": {"name": files}}
    change = {"spec": {"template": {"spec": {"containers": [with_files], "volumes": [volume]}}}}
    ground.kubectl("patch", *deployment, "-p", json.dumps(change))
    try:
        ground.kubectl("rollout", "status", *deployment, "--timeout=240s")
        yield
    finally:
        without = {
            "name": container,
            "env": [{"name": each["name"], "$patch": "delete"} for each in env],
            "volumeMounts": [{"mountPath": mount["mountPath"], "$patch": "delete"}],
        }
        gone = [{"name": files, "$patch": "delete"}]
        undone = {"spec": {"template": {"spec": {"containers": [without], "volumes": gone}}}}
        ground.kubectl("patch", *deployment, "-p", json.dumps(undone))
        ground.kubectl("rollout", "status", *deployment, "--timeout=240s")


@contextmanager
def _with_files(ground: Ground, name: str, files: dict[str, bytes], namespace: str) -> Iterator[None]:
    """A ConfigMap while the block runs."""
    data = {file: base64.b64encode(content).decode() for file, content in files.items()}
    metadata = {"name": name, "namespace": namespace}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": data}
    ground.kubectl("apply", "-f", "-", text=json.dumps(body))
    try:
        yield
    finally:
        ground.kubectl("delete", "configmap", name, "-n", namespace)


FAULTS: Final[dict[str, Fault]] = {
    "API server away": Fault(api_server_away),
    "etcd restarted": Fault(etcd_restarted),
    "operator killed": Fault(operator_killed),
    "operator killed at each action": Fault(operator_killed_at_actions, kill_points),
    "two operators with the Lease stolen": Fault(lease_stolen, two_operators),
    "admission away": Fault(admission_away, admitting),
    "clocks 5 minutes off": Fault(clocks_off, faketime),
    "certificates rotated": Fault(certificates_rotated),
}
