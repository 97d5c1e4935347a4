"""A cluster that is like K3s has its parts in place of etcd, and beside the API server and the kubelet."""

import json
import tarfile
from pathlib import Path

import pytest

from testbed import binaries, controlplane, k3s, nodes
from testbed.errors import BadValueError
from testbed.layout import Layout
from testbed.network import build_commands
from testbed.oci import write_program_image
from testbed.topology import DEFAULT_NODES, Topology, parse_likeness

PATHS = {program.name: Path("/bin") / program.name for program in (*binaries.PROGRAMS, *binaries.K3S)}


@pytest.mark.parametrize(
    ("text", "parts", "absent"),
    [
        ("k3s", {"kine", "helm-controller", "local-path-provisioner"}, {"etcd"}),
        ("upstream", {"etcd"}, {"kine", "helm-controller", "local-path-provisioner"}),
    ],
)
def test_the_control_plane_has_the_parts_of_what_it_is_like(
    tmp_path: Path, text: str, parts: set[str], absent: set[str]
) -> None:
    layout = Layout.of_checkout(tmp_path)
    layout.state.mkdir()
    topology = Topology.with_cloud(DEFAULT_NODES, parse_likeness(text))
    daemons = {daemon.name: daemon for daemon in controlplane.daemons(layout, topology, PATHS)}
    assert parts <= daemons.keys()
    assert not absent & daemons.keys()
    listening = "tcp://127.0.0.1:2379" if text == "k3s" else controlplane.ETCD
    assert any(listening in word for word in daemons["kine" if text == "k3s" else "etcd"].argv)
    assert f"--etcd-servers={controlplane.ETCD}" in daemons["kube-apiserver"].argv


def test_kube_router_enforces_policies_and_routes_nothing(tmp_path: Path) -> None:
    argv = k3s.firewall(Layout.of_checkout(tmp_path), DEFAULT_NODES[0], PATHS).argv
    assert {"--run-firewall=true", "--run-router=false", "--run-service-proxy=false"} <= set(argv)


def test_flannel_leases_the_subnet_that_the_nodes_pods_have_and_routes_to_the_others(tmp_path: Path) -> None:
    layout = Layout.of_checkout(tmp_path)
    layout.state.mkdir()
    topology = Topology.with_cloud(DEFAULT_NODES, "k3s")
    node = DEFAULT_NODES[0]
    daemon = k3s.pod_network(layout, node, PATHS)
    assert daemon.env["NODE_NAME"] == node.name
    patch = json.loads(k3s.subnet_patch(topology, node))
    assert topology.pod_subnet(node.name) in nodes.cni_config(patch["spec"]["podCIDR"], 1450)
    config = json.loads((layout.state / "flannel.json").read_text())
    assert config == {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}
    subnet = topology.pod_subnet(DEFAULT_NODES[1].name)
    assert not [command for command in build_commands(topology) if subnet in command]
    assert [c for c in build_commands(Topology.with_cloud(DEFAULT_NODES)) if subnet in c]


def test_what_a_cluster_is_like_stays_when_a_speed_changes() -> None:
    topology = Topology.with_cloud(DEFAULT_NODES, "k3s")
    changed = topology.with_node(DEFAULT_NODES[1])
    assert Topology.from_json(changed.to_json()) == topology


def test_something_else_to_be_like_is_refused_with_what_there_is() -> None:
    with pytest.raises(BadValueError, match=r"--like microk8s: use one of upstream, k3s"):
        parse_likeness("microk8s")


def test_an_image_can_hold_more_programs(tmp_path: Path) -> None:
    program, other = tmp_path / "jobs", tmp_path / "helm"
    program.write_bytes(b"jobs")
    other.write_bytes(b"helm")
    target = tmp_path / "image.tar"
    write_program_image(
        program, "jobs", "localhost/jobs:1", target, "amd64", {"bin/sh": program, "helm": other}
    )
    with tarfile.open(target) as archive:
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
        digest = index["manifests"][0]["digest"].removeprefix("sha256:")
        manifest = json.load(archive.extractfile(f"blobs/sha256/{digest}"))  # type: ignore[arg-type]
        layer = manifest["layers"][0]["digest"].removeprefix("sha256:")
        with tarfile.open(fileobj=archive.extractfile(f"blobs/sha256/{layer}")) as files:
            assert files.getnames() == ["jobs", "bin/sh", "helm"]
