"""What a cluster has that is like K3s: SQLite for etcd, a default StorageClass, HelmChart objects, flannel,
and NetworkPolicies that are enforced. All are the parts that K3s itself is built from.
"""

from __future__ import annotations

import json
from pathlib import Path

from testbed import binaries
from testbed.layout import Layout
from testbed.processes import DaemonSpec
from testbed.topology import PODS, SERVICES, NodeSpec, Topology

QUIET = {"GOMAXPROCS": "2"}
SERVER_LABEL = "node-role.kubernetes.io/control-plane=true"
"""Label of the nodes on which K3s' server runs."""
PACKAGES = {"ipset": "ipset"}
"""Programs that only such a cluster needs, with their Debian packages."""
_NAMESPACE = "kube-system"


def datastore(layout: Layout, binary: dict[str, Path], endpoint: str) -> DaemonSpec:
    """Returns kine, which serves etcd's protocol from a file of SQLite. endpoint: etcd's, as a URL."""
    folder = layout.state / "kine"
    folder.mkdir(parents=True, exist_ok=True)
    settings = "_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate"
    argv = [
        str(binary[binaries.KINE.name]),
        f"--endpoint=sqlite://{folder / 'state.db'}?{settings}",
        f"--listen-address={endpoint.replace('http://', 'tcp://')}",
        "--metrics-bind-address=0",
    ]
    return DaemonSpec("kine", argv, env=QUIET)


def controllers(layout: Layout, binary: dict[str, Path], image: str, after: str) -> list[DaemonSpec]:
    """Returns the controllers that run beside the API server.

    image: of their jobs. after: what they wait for.
    """
    folder = layout.state / "local-path"
    folder.mkdir(parents=True, exist_ok=True)
    config = f"--kubeconfig={layout.kubeconfig}"
    provisioner = [
        str(binary[binaries.LOCAL_PATH.name]),
        "start",
        config,
        f"--namespace={_NAMESPACE}",
        f"--helper-image={image}",
        "--service-account-name=default",
    ]
    helm = [str(binary[binaries.HELM_CONTROLLER.name]), config, f"--default-job-image={image}"]
    return [
        DaemonSpec(binaries.LOCAL_PATH.name, provisioner, after=after, env=QUIET),
        DaemonSpec(binaries.HELM_CONTROLLER.name, helm, after=after, env=QUIET),
    ]


def pod_network(layout: Layout, node: NodeSpec, binary: dict[str, Path]) -> DaemonSpec:
    """Returns flannel on a node: packets between pods of two nodes travel in VXLAN between the nodes."""
    config = layout.state / "flannel.json"
    config.write_text(json.dumps({"Network": PODS, "Backend": {"Type": "vxlan"}}))
    argv = [str(binary[binaries.FLANNEL.name]), f"-kubeconfig={layout.kubeconfig}", f"-network={config}"]
    return DaemonSpec(f"flannel-{node.name}", argv, env=QUIET | {"NODE_NAME": node.name})


def subnet_patch(topology: Topology, node: NodeSpec) -> str:
    """Returns the patch that gives a node the subnet of its network configuration, which flannel leases."""
    subnet = topology.pod_subnet(node.name)
    return json.dumps({"spec": {"podCIDR": subnet, "podCIDRs": [subnet]}})


def firewall(layout: Layout, node: NodeSpec, binary: dict[str, Path]) -> DaemonSpec:
    """Returns kube-router on a node, which enforces NetworkPolicies and does nothing else."""
    argv = [
        str(binary[binaries.KUBE_ROUTER.name]),
        f"--kubeconfig={layout.kubeconfig}",
        f"--hostname-override={node.name}",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--service-cluster-ip-range={SERVICES}",
        "--health-port=0",
        "--iptables-sync-period=1m",
    ]
    return DaemonSpec(f"kube-router-{node.name}", argv, env=QUIET)
