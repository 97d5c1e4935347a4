import json
import tomllib
from pathlib import Path
from typing import Any

import yaml

from testbed import controlplane, nodes, prometheus
from testbed.discovery import targets
from testbed.layout import Layout
from testbed.topology import DEFAULT_NODES, Topology

TOPOLOGY = Topology.with_cloud(DEFAULT_NODES)
LAYOUT = Layout.of_checkout(Path("/checkout"))


def test_each_node_has_its_own_containerd_and_its_own_pods_addresses() -> None:
    config = tomllib.loads(nodes.containerd_config())
    network = json.loads(nodes.cni_config("10.244.2.0/24"))

    assert config["root"] == "/run/node/containerd"
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["cni"]["conf_dir"] == "/run/node/cni"
    assert cri["sandbox_image"] == "localhost/edge-intelligence/pause:0.1.0"
    assert network["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.2.0/24"}]]


def test_a_kubelet_keeps_its_pods_below_its_nodes_group_and_sets_no_quota_of_its_own() -> None:
    config = yaml.safe_load(nodes.kubelet_config(LAYOUT, "edge-b", "/testbed-x/edge-b"))

    assert config["cgroupRoot"] == "/testbed-x/edge-b"
    assert config["cgroupsPerQOS"] is True
    assert config["cpuCFSQuota"] is False
    assert config["clusterDNS"] == ["10.96.0.10"]
    assert config["failCgroupV1"] is False


def test_a_node_registers_with_its_tier_and_class() -> None:
    binary = {"kubelet": Path("/k"), "kube-proxy": Path("/p")}
    node = TOPOLOGY.node("edge-a")
    [_, kubelet, proxy] = nodes.daemons(TOPOLOGY, node, binary, Path("/n"), Path("/q"))

    labels = "edge-intelligence.io/tier=edge,edge-intelligence.io/device-class=gateway"
    assert f"--node-labels={labels}" in kubelet.argv
    assert "--node-ip=10.99.0.11" in kubelet.argv
    assert kubelet.after == "unix:/run/containerd/containerd.sock"
    assert "--proxy-mode=nftables" in proxy.argv


def test_a_kubeconfig_names_the_certificate_of_its_user() -> None:
    config = yaml.safe_load(controlplane.kubeconfig(LAYOUT, TOPOLOGY, "admin"))

    assert config["clusters"][0]["cluster"] == {
        "server": "https://10.99.0.10:6443",
        "certificate-authority": "/checkout/.testbed/pki/ca.crt",
    }
    assert config["users"][0]["user"]["client-certificate"] == "/checkout/.testbed/pki/admin.crt"


def pod(name: str, annotations: dict[str, str], phase: str = "Running") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"nodeName": "edge-a", "containers": [{"name": "runtime"}]},
        "status": {"phase": phase, "podIP": "10.244.1.7"},
    }


def test_prometheus_scrapes_the_running_pods_with_its_annotation() -> None:
    asks = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}
    pods = [
        pod("asks", asks),
        pod("asks-elsewhere", {**asks, "prometheus.io/port": "8002", "prometheus.io/path": "/m"}),
        pod("over", asks, phase="Succeeded"),
        pod("silent", {}),
        pod("declines", {**asks, "prometheus.io/scrape": "false"}),
    ]
    labels = {
        "namespace": "default",
        "node": "edge-a",
        "container": "runtime",
        "job": "default/runtime",
    }

    assert targets(pods) == [
        {
            "targets": ["10.244.1.7:8002"],
            "labels": {**labels, "pod": "asks-elsewhere", "__metrics_path__": "/m"},
        },
        {"targets": ["10.244.1.7:8080"], "labels": {**labels, "pod": "asks", "__metrics_path__": "/metrics"}},
    ]
    config = yaml.safe_load(prometheus.config(Path("/t.json"), Path("/r.yaml")))
    assert config["rule_files"] == ["/r.yaml"]
    assert config["scrape_configs"][0]["honor_labels"] is True
    assert config["scrape_configs"][0]["file_sd_configs"][0]["files"] == ["/t.json"]
    assert config["global"]["scrape_interval"] == "15s"
