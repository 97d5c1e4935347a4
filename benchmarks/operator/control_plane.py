"""The programs of a run: a datastore, the API server, kwok, the substitutes, and operators.

All listen at free ports of loopback addresses, keep their files in the folder of the run, and end with this
process. Without a controller manager and a scheduler, nothing but the operator and kwok writes.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import yaml

from benchmarks.operator.fleet import KWOK_ANNOTATION, OPERATOR_NAMESPACE
from benchmarks.runtime.commands import Say
from testbed import binaries, k3s
from testbed.binaries import Binaries
from testbed.errors import TestbedError
from testbed.layout import Layout
from testbed.pki import Authority
from testbed.processes import ending_with, run, tail, wait_until

Datastore = Literal["etcd", "kine"]
STAGES: Final = Path(__file__).with_name("stages.yaml")
OPERATORS: Final = ("operator-a", "operator-b")
"""Users of the two replicas."""
_QUIET: Final = {"GOMAXPROCS": "2"}
_BOOT_SECONDS: Final = 120.0
_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "omitManagedFields": True,
    "rules": [{"level": "Metadata", "users": list(OPERATORS)}, {"level": "None"}],
}


@dataclass
class Program:
    """A running program."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def folder(self) -> Path:
        """Of the process, in procfs."""
        return Path(f"/proc/{self.process.pid}")

    def kill(self) -> None:
        """Kills it, as an end of its machine would."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 15.0) -> None:
        """Ends it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class ControlPlane:
    """A cluster without nodes of its own. folder: of the run, which must exist."""

    folder: Path
    programs: Mapping[str, Path]
    datastore: Datastore
    say: Say
    running: list[Program] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://127.0.0.1:{self.ports['api']}"

    @property
    def audit_log(self) -> Path:
        """The requests of the operators."""
        return self.folder / "audit.log"

    def kubeconfig(self, user: str) -> Path:
        """Returns the path of a user's kubeconfig."""
        return self.folder / f"{user}.kubeconfig"

    def kubectl(self, *arguments: str) -> str:
        """Runs kubectl as an administrator."""
        return run([str(self.programs["kubectl"]), f"--kubeconfig={self.kubeconfig('bench')}", *arguments])

    def start(self, crds: Path) -> None:
        """Starts everything but operators. crds: a folder of CustomResourceDefinitions."""
        names = ("etcd", "peer", "api", "stand-ins")
        self.ports.update(zip(names, free_ports(len(names)), strict=True))
        self._issue_certificates()
        self._start_datastore()
        self._start_api_server()
        self.kubectl("apply", "--server-side", "-f", str(crds))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        kwok = [
            str(self.programs["kwok"]),
            f"--kubeconfig={self.kubeconfig('kwok')}",
            f"--config={STAGES}",
            f"--manage-nodes-with-annotation-selector={KWOK_ANNOTATION}=fake",
            "--node-lease-duration-seconds=0",
            "--server-address=127.0.0.1:0",
        ]
        self._start("kwok", kwok, _QUIET)
        python = [sys.executable, "-m", "benchmarks.operator.stand_ins", str(self.ports["stand-ins"])]
        self._start("stand-ins", python)
        self._await_port("stand-ins")

    def start_operator(self, user: str) -> Program:
        """Starts a replica of the operator, with the flags and the environment of the chart."""
        metrics, liveness = free_ports(2)
        self.ports |= {f"{user} metrics": metrics, f"{user} liveness": liveness}
        arguments = [
            sys.executable,
            "-m",
            "edge_operator.cli",
            "run",
            f"--store=http://127.0.0.1:{self.ports['stand-ins']}",
            "--runtime-image=edge-runtime:bench",
            f"--metrics-port={metrics}",
            f"--liveness-port={liveness}",
            "--log-format=json",
        ]
        environment = {
            "KUBECONFIG": str(self.kubeconfig(user)),
            "EDGE_OPERATOR_NAMESPACE": OPERATOR_NAMESPACE,
            "EDGE_POD_NAME": user,
        }
        return self._start(user, arguments, environment)

    def start_handler(self, events: Path) -> Program:
        """Starts an operator of kopf with an empty handler. events: file for the times of its calls."""
        arguments = [sys.executable, "-m", "benchmarks.operator.kopf_handler", str(events)]
        return self._start("kopf", arguments, {"KUBECONFIG": str(self.kubeconfig("bench"))})

    def stop(self) -> None:
        """Ends what runs, the last started first."""
        for program in reversed(self.running):
            program.stop(3.0)

    def check(self) -> None:
        """Raises TestbedError if a program other than an operator has ended."""
        for program in self.running:
            if program.name not in OPERATORS and program.process.poll() not in (None, 0, -15):
                raise TestbedError(f"{program.name} has ended: {tail(program.log)}")

    def _start(self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Program:
        log = self.folder / f"{name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [*ending_with(os.getpid()), *argv],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # an interruption ends this process first, which ends them
            )
        program = Program(name, process, log)
        self.running.append(program)
        return program

    def _issue_certificates(self) -> None:
        authority = Authority(self.folder / "pki", datetime.datetime.now(datetime.UTC))
        authority.service_account_keys()
        authority.issue("kube-apiserver", "kube-apiserver", hosts=["127.0.0.1", "localhost"])
        for user in ("bench", "kwok", *OPERATORS):
            authority.issue(user, user, "system:masters")
            self.kubeconfig(user).write_text(yaml.safe_dump(self._config(user)))

    def _config(self, user: str) -> dict[str, object]:
        pki = self.folder / "pki"
        cluster = {"server": self.server, "certificate-authority": str(pki / "ca.crt")}
        files = {"client-certificate": str(pki / f"{user}.crt"), "client-key": str(pki / f"{user}.key")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bench", "cluster": cluster}],
            "users": [{"name": user, "user": files}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": user}}],
            "current-context": "bench",
        }

    def _start_datastore(self) -> None:
        url = f"http://127.0.0.1:{self.ports['etcd']}"
        if self.datastore == "kine":
            layout = Layout(self.folder, self.folder, self.folder)
            spec = k3s.datastore(layout, dict(self.programs), url)
            self._start("kine", spec.argv, spec.env)
        else:
            peer = f"http://127.0.0.1:{self.ports['peer']}"
            arguments = [
                str(self.programs["etcd"]),
                "--name=bench",
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={url}",
                f"--advertise-client-urls={url}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=bench={peer}",
                "--unsafe-no-fsync",
                "--quota-backend-bytes=8589934592",
                "--log-level=warn",
            ]
            self._start("etcd", arguments, _QUIET)
        self._await_port("etcd")

    def _start_api_server(self) -> None:
        pki = self.folder / "pki"
        policy = self.folder / "policy.yaml"
        policy.write_text(yaml.safe_dump(_POLICY))
        arguments = [
            str(self.programs["kube-apiserver"]),
            f"--etcd-servers=http://127.0.0.1:{self.ports['etcd']}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--tls-cert-file={pki / 'kube-apiserver.crt'}",
            f"--tls-private-key-file={pki / 'kube-apiserver.key'}",
            f"--service-account-key-file={pki / 'sa.pub'}",
            f"--service-account-signing-key-file={pki / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/12",
            "--authorization-mode=RBAC",
            # Without a controller manager, namespaces have no ServiceAccounts.
            "--disable-admission-plugins=ServiceAccount",
            "--advertise-address=127.0.0.1",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.ports['api']}",
            "--endpoint-reconciler-type=none",
            "--enable-priority-and-fairness=false",
            "--profiling=false",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=4000",
        ]
        program = self._start("kube-apiserver", arguments, _QUIET)

        def ready() -> bool:
            if program.process.poll() is not None:
                raise TestbedError(f"kube-apiserver has ended: {tail(program.log)}")
            try:
                return self.kubectl("get", "--raw", "/readyz") == "ok"
            except TestbedError:
                return False

        wait_until(ready, _BOOT_SECONDS, lambda: f"the API server is not ready: {tail(program.log)}", 0.3)

    def _await_port(self, name: str) -> None:
        program = self.running[-1]

        def listens() -> bool:
            if program.process.poll() is not None:
                raise TestbedError(f"{program.name} has ended: {tail(program.log)}")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.ports[name])) == 0

        wait_until(listens, _BOOT_SECONDS, lambda: f"{program.name} does not listen: {tail(program.log)}")


def free_ports(count: int) -> list[int]:
    """Returns ports at which nothing listens."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in found]


def found_programs(cache: Path, say: Say, datastores: Sequence[Datastore]) -> dict[str, Path]:
    """Finds or builds the programs. Raises BinaryUnavailableError."""
    built = Binaries(cache, say)
    found = built.all() | {"kwok": built.one(binaries.KWOK)}
    return found | ({binaries.KINE.name: built.one(binaries.KINE)} if "kine" in datastores else {})


@contextlib.contextmanager
def control_plane(
    folder: Path, programs: Mapping[str, Path], datastore: Datastore, crds: Path, say: Say
) -> Iterator[ControlPlane]:
    """Runs a control plane until the end of the block."""
    folder.mkdir()
    plane = ControlPlane(folder, programs, datastore, say)
    began = time.monotonic()
    try:
        say(f"start the API server on {datastore} ...")
        plane.start(crds)
        say(f"start the API server on {datastore}: {time.monotonic() - began:.1f} s")
        yield plane
    finally:
        plane.stop()
