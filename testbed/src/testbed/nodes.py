"""Renders the configuration of a node's containerd, kubelet, pod network and kube-proxy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from testbed.layout import Layout
from testbed.network import MTU
from testbed.processes import DaemonSpec
from testbed.topology import DNS_SERVICE, DOMAIN, PODS, NodeSpec, Topology

VXLAN_BYTES = 50
"""What VXLAN adds to a packet."""
PAUSE_IMAGE = "localhost/edge-intelligence/pause:0.1.0"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CNI_PROGRAMS = "/usr/lib/cni"
# A node's folder inside its machine: short, since the kernel limits a socket's path to 107 bytes.
FOLDER = Path("/run/node")
QUIET = {"GOMAXPROCS": "2"}


@dataclass(frozen=True)
class NodeFiles:
    """The folders of a node below the testbed's state."""

    folder: Path

    @classmethod
    def of(cls, layout: Layout, node: str) -> NodeFiles:
        return cls(layout.state / "nodes" / node)

    @property
    def units(self) -> Path:
        """The systemd units that are installed on the node."""
        return self.folder / "units"

    @property
    def edge_runtime(self) -> Path:
        """What these units keep below /var/lib."""
        return self.folder / "edge-runtime"

    @property
    def edge_intelligence(self) -> Path:
        """What agents of the chart keep below /var/lib."""
        return self.folder / "edge-intelligence"

    @property
    def containerd(self) -> Path:
        return self.folder / "containerd.toml"

    @property
    def kubelet(self) -> Path:
        return self.folder / "kubelet.yaml"

    @property
    def cni(self) -> Path:
        return self.folder / "cni" / "10-pods.conflist"


def containerd_config() -> str:
    """Returns a node's containerd.toml."""
    return f"""version = 2
root = "{FOLDER}/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "{PAUSE_IMAGE}"
  stats_collect_period = 60
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{FOLDER}/cni"
"""


def cni_config(pod_subnet: str, mtu: int = MTU) -> str:
    """Point-to-point links instead of a bridge: every packet passes the node's routing, so that a pod reaches
    itself and its neighbors by a service's address without the kernel's bridge filter.
    """
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": pod_subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        # On the machine's disk, like the containers: both survive a power cycle of the node.
        "dataDir": str(FOLDER / "addresses"),
    }
    return json.dumps(
        {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [{"type": "ptp", "ipMasq": False, "mtu": mtu, "ipam": ipam}],
        }
    )


def kubelet_config(layout: Layout, name: str, cgroup_root: str) -> str:
    """Returns the KubeletConfiguration of a node whose pods are below `cgroup_root`."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(layout.pki / f"kubelet-{name}.crt"),
            "tlsPrivateKeyFile": str(layout.pki / f"kubelet-{name}.key"),
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup_root,
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": [],
            # The class's speed limits the node as a whole; the kernel rejects a container's quota above its
            # parent's.
            "cpuCFSQuota": False,
            "failSwapOn": False,
            "failCgroupV1": False,
            "oomScoreAdj": 0,
            "clusterDNS": [DNS_SERVICE],
            "clusterDomain": DOMAIN,
            "resolvConf": "",
            "podLogsDir": str(FOLDER / "pod-logs"),
            "volumePluginDir": str(FOLDER / "kubelet" / "volume-plugins"),
            "maxPods": 60,
            "serializeImagePulls": False,
            # Disk and memory are the machine's: their usage must not evict pods or delete images.
            "evictionHard": {"memory.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "imageMinimumGCAge": "24h",
            "localStorageCapacityIsolation": False,
            # Background work is rare, since the nodes share the machine with measurements.
            "syncFrequency": "1m",
            "nodeStatusUpdateFrequency": "5s",
            "volumeStatsAggPeriod": "-1s",
            "enableDebuggingHandlers": True,
            "registryPullQPS": 0,
            "eventRecordQPS": 20,
            "shutdownGracePeriod": "0s",
        }
    )


def write_files(layout: Layout, topology: Topology, node: NodeSpec, cgroup_root: str) -> NodeFiles:
    """Writes the node's configuration."""
    files = NodeFiles.of(layout, node.name)
    mtu = MTU - VXLAN_BYTES if topology.like == "k3s" else MTU
    files.cni.parent.mkdir(parents=True, exist_ok=True)
    files.containerd.write_text(containerd_config())
    files.cni.write_text(cni_config(topology.pod_subnet(node.name), mtu))
    files.kubelet.write_text(kubelet_config(layout, node.name, cgroup_root))
    return files


def daemons(
    topology: Topology,
    node: NodeSpec,
    binary: dict[str, Path],
    node_config: Path,
    proxy_config: Path,
) -> list[DaemonSpec]:
    """Returns the programs of a node."""
    labels = ",".join(f"{key}={value}" for key, value in node.labels.items())
    kubelet = [
        str(binary["kubelet"]),
        f"--config={FOLDER / 'kubelet.yaml'}",
        f"--kubeconfig={node_config}",
        f"--hostname-override={node.name}",
        f"--node-ip={topology.address(node.name)}",
        f"--node-labels={labels}",
        f"--root-dir={FOLDER / 'kubelet'}",
        f"--cert-dir={FOLDER / 'certificates'}",
        "--housekeeping-interval=30s",
        "--v=1",
    ]
    proxy = [
        str(binary["kube-proxy"]),
        f"--kubeconfig={proxy_config}",
        f"--hostname-override={node.name}",
        "--proxy-mode=nftables",
        f"--cluster-cidr={PODS}",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
        "--oom-score-adj=0",
        "--nodeport-addresses=primary",
        "--iptables-min-sync-period=1s",
    ]
    return [
        DaemonSpec(
            f"containerd-{node.name}", ["containerd", "--config", str(FOLDER / "containerd.toml")], env=QUIET
        ),
        DaemonSpec(f"kubelet-{node.name}", kubelet, after=f"unix:{CONTAINERD_SOCKET}", env=QUIET),
        DaemonSpec(f"kube-proxy-{node.name}", proxy, env=QUIET),
    ]
