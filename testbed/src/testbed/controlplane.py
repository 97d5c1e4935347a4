"""The control plane: etcd, API server, controller manager and scheduler in the cloud's network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from testbed import audit, k3s
from testbed.images import JOBS_IMAGE, reference
from testbed.layout import Layout
from testbed.pki import Authority
from testbed.processes import DaemonSpec
from testbed.topology import API_SERVICE, CLOUD, SERVICES, Topology

API_PORT = 6443
ETCD = "http://127.0.0.1:2379"
# Disabled controllers: the testbed has no storage classes, bootstrap tokens or cloud provider.
UNUSED_CONTROLLERS = (
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
    "certificatesigningrequest-signing-controller",
    "ephemeral-volume-controller",
    "horizontal-pod-autoscaler-controller",
    "node-ipam-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "resourceclaim-controller",
    "service-lb-controller",
    "node-route-controller",
    "cloud-node-lifecycle-controller",
)
# Two threads each, since the control plane shares the machine with measurements.
QUIET = {"GOMAXPROCS": "2"}


def server(topology: Topology) -> str:
    """Returns the API server's URL inside the testbed's networks."""
    return f"https://{topology.address(CLOUD)}:{API_PORT}"


def kubeconfig(layout: Layout, topology: Topology, user: str) -> str:
    """Returns a kubeconfig for the certificate `user`, which works inside the testbed's networks."""
    pki = layout.pki
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "testbed",
                    "cluster": {"server": server(topology), "certificate-authority": str(pki / "ca.crt")},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate": str(pki / f"{user}.crt"),
                        "client-key": str(pki / f"{user}.key"),
                    },
                }
            ],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
            "current-context": "testbed",
        }
    )


def write_kubeconfig(layout: Layout, topology: Topology, user: str) -> Path:
    """Returns the path of a certificate's kubeconfig."""
    path = layout.state / f"{user}.kubeconfig"
    path.write_text(kubeconfig(layout, topology, user))
    return path


def issue_certificates(authority: Authority, topology: Topology) -> None:
    """Creates the certificates of the control plane's programs."""
    authority.service_account_keys()
    cloud = topology.address(CLOUD)
    names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    authority.issue("kube-apiserver", "kube-apiserver", hosts=[cloud, "127.0.0.1", API_SERVICE, *names])
    authority.issue("apiserver-kubelet", "kube-apiserver", "system:masters")
    authority.issue("admin", "admin", "system:masters")
    authority.issue("controller-manager", "system:kube-controller-manager")
    authority.issue("scheduler", "system:kube-scheduler")
    authority.issue("kube-proxy", "system:kube-proxy")


def _etcd(layout: Layout, binary: dict[str, Path]) -> DaemonSpec:
    argv = [
        str(binary["etcd"]),
        "--name=testbed",
        f"--data-dir={layout.state / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=testbed=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    return DaemonSpec("etcd", argv, env=QUIET)


def daemons(layout: Layout, topology: Topology, binary: dict[str, Path]) -> Sequence[DaemonSpec]:
    """Writes the kubeconfigs, and returns the programs of the control plane."""
    pki, cloud = layout.pki, topology.address(CLOUD)
    api = f"tcp:{cloud}:{API_PORT}"
    like_k3s = topology.like == "k3s"

    def config(user: str) -> str:
        return str(write_kubeconfig(layout, topology, user))

    return [
        k3s.datastore(layout, binary, ETCD) if like_k3s else _etcd(layout, binary),
        DaemonSpec(
            "kube-apiserver",
            [
                str(binary["kube-apiserver"]),
                f"--etcd-servers={ETCD}",
                f"--client-ca-file={pki / 'ca.crt'}",
                f"--tls-cert-file={pki / 'kube-apiserver.crt'}",
                f"--tls-private-key-file={pki / 'kube-apiserver.key'}",
                f"--service-account-key-file={pki / 'sa.pub'}",
                f"--service-account-signing-key-file={pki / 'sa.key'}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-cluster-ip-range={SERVICES}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--kubelet-preferred-address-types=InternalIP",
                f"--kubelet-client-certificate={pki / 'apiserver-kubelet.crt'}",
                f"--kubelet-client-key={pki / 'apiserver-kubelet.key'}",
                f"--kubelet-certificate-authority={pki / 'ca.crt'}",
                "--allow-privileged=true",
                f"--advertise-address={cloud}",
                "--bind-address=0.0.0.0",
                f"--secure-port={API_PORT}",
                "--enable-priority-and-fairness=false",
                "--profiling=false",
                "--anonymous-auth=false",
                *audit.flags(layout.audit),
            ],
            after="tcp:127.0.0.1:2379",
            env=QUIET,
        ),
        DaemonSpec(
            "kube-controller-manager",
            [
                str(binary["kube-controller-manager"]),
                f"--kubeconfig={config('controller-manager')}",
                f"--service-account-private-key-file={pki / 'sa.key'}",
                f"--root-ca-file={pki / 'ca.crt'}",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--controllers=*," + ",".join(f"-{name}" for name in UNUSED_CONTROLLERS),
                "--bind-address=127.0.0.1",
                "--profiling=false",
            ],
            after=api,
            env=QUIET,
        ),
        DaemonSpec(
            "kube-scheduler",
            [
                str(binary["kube-scheduler"]),
                f"--kubeconfig={config('scheduler')}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                "--profiling=false",
            ],
            after=api,
            env=QUIET,
        ),
        *(k3s.controllers(layout, binary, reference(JOBS_IMAGE), api) if like_k3s else ()),
    ]
