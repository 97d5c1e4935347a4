"""Boots a cluster, powers its nodes on and off, and removes it."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from testbed import controlplane, k3s, nodes, units
from testbed.cgroups import ControlGroups
from testbed.errors import KubectlFailed
from testbed.layout import Layout
from testbed.network import Network
from testbed.pki import Authority
from testbed.processes import Machine, ProcessRecord, entering, succeeds, tail, wait_until
from testbed.topology import CLOUD, NodeSpec, Topology

ROOT, CONTROL_PLANE, PROMETHEUS, KWOK = "testbed", "control-plane", "prometheus", "kwok"
API_SECONDS, NODES_SECONDS, CONTAINERD_SECONDS = 90, 120, 30


class Cluster:
    """The machines of one checkout. Stateless: all state is in the layout's files."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.cgroups = ControlGroups.of_machine(layout.name)

    def machine(self, name: str) -> Machine:
        return Machine(
            name,
            self.layout.machines,
            self.layout.logs,
            (self.layout.root, self.layout.cache, self.layout.sources),
        )

    def node_machine(self, name: str) -> Machine:
        files = nodes.NodeFiles.of(self.layout, name)
        own = {
            units.FOLDER: files.units,
            Path("/var/lib/edge-runtime"): files.edge_runtime,
            Path("/var/lib/edge-intelligence"): files.edge_intelligence,
        }
        for folder in own.values():
            folder.mkdir(parents=True, exist_ok=True)
        binds = {nodes.FOLDER: files.folder, **own}
        return replace(self.machine(name), binds={str(target): source for target, source in binds.items()})

    def record(self) -> ProcessRecord | None:
        """The outermost machine, which contains all others."""
        return self.machine(ROOT).record()

    def start_root(self, lock_fd: int) -> ProcessRecord:
        return self.machine(ROOT).start([], lock_fd=lock_fd)

    def boot(self, root: ProcessRecord, topology: Topology, binary: dict[str, Path]) -> None:
        """Starts every machine of the cluster without waiting for them."""
        layout = self.layout
        Network(root).build(topology)
        authority = Authority(layout.pki, datetime.datetime.now(datetime.UTC))
        controlplane.issue_certificates(authority, topology)
        for node in topology.nodes:
            hosts = [node.name, topology.address(node.name)]
            authority.issue(f"kubelet-{node.name}", f"system:node:{node.name}", "system:nodes", hosts)
        layout.kubeconfig.write_text(controlplane.kubeconfig(layout, topology, "admin"))
        controlplane.write_kubeconfig(layout, topology, "kube-proxy")
        plane = controlplane.daemons(layout, topology, binary)
        self.machine(CONTROL_PLANE).start(plane, inside=root, netns=CLOUD)
        for node in topology.nodes:
            controlplane.write_kubeconfig(layout, topology, f"kubelet-{node.name}")
            nodes.write_files(layout, topology, node, self.cgroups.path(node.name))
            self.power_on(root, topology, node, binary)

    def power_on(
        self, root: ProcessRecord, topology: Topology, node: NodeSpec, binary: dict[str, Path]
    ) -> None:
        self.cgroups.create(node.name)
        self.cgroups.set_speed(node.name, node.speed)
        state = self.layout.state
        daemons = nodes.daemons(
            topology,
            node,
            binary,
            state / f"kubelet-{node.name}.kubeconfig",
            state / "kube-proxy.kubeconfig",
        )
        if topology.like == "k3s":
            daemons += [part(self.layout, node, binary) for part in (k3s.pod_network, k3s.firewall)]
        daemons += units.daemons(nodes.NodeFiles.of(self.layout, node.name).units, node.name)
        self.node_machine(node.name).start(daemons, inside=root, netns=node.name)

    def power_off(self, root: ProcessRecord, node: str) -> None:
        """Ends all processes of the node immediately; keeps the folders of containerd and the kubelet."""
        network = Network(root)
        network.set_up(node, up=False)
        self.machine(node).kill()
        network.forget(node)
        self.cgroups.remove(node)

    def on_every(self, names: Sequence[str], work: Callable[[str, ProcessRecord], object]) -> None:
        """Runs `work` on the named nodes in parallel, once their containerd responds."""

        def on(name: str) -> None:
            machine = self.machine(name)
            log = self.layout.logs / f"containerd-{name}.log"
            wait_until(
                lambda: machine.record() is not None and _containerd_answers(machine.record()),
                CONTAINERD_SECONDS,
                lambda: f"containerd of node {name} does not respond: {tail(log)}",
            )
            record = machine.record()
            assert record is not None
            work(name, record)

        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(on, names))

    def wait_for_api(self, kubectl: Callable[..., str]) -> None:
        def ready() -> bool:
            try:
                return kubectl("get", "--raw", "/readyz").strip() == "ok"
            except KubectlFailed:
                return False

        wait_until(
            ready,
            API_SECONDS,
            lambda: f"the API server does not respond: {tail(self.layout.logs / 'kube-apiserver.log')}",
            every_seconds=0.25,
        )

    def wait_for_nodes(self, kubectl: Callable[..., str], topology: Topology) -> None:
        names = {node.name for node in topology.nodes}

        def state() -> str:
            lines = [
                f"{name}: {'Ready' if ready else 'not ready'}" for name, ready in readiness(kubectl).items()
            ]
            logs = [tail(self.layout.logs / f"kubelet-{name}.log", 5) for name in sorted(names)]
            return "\n".join([*lines, *logs])

        wait_until(
            lambda: {name for name, ready in readiness(kubectl).items() if ready} >= names,
            NODES_SECONDS,
            state,
            every_seconds=0.3,
        )

    def remove(self) -> None:
        """Ends every process and removes all control groups and files, except the logs."""
        self.machine(ROOT).kill()
        self.cgroups.remove()
        if self.layout.state.is_dir():
            for path in self.layout.state.iterdir():
                if path != self.layout.logs:
                    _remove(path)


def _remove(path: Path) -> None:
    """Removes a file or a folder, from which a program that is ending can remove files at the same time."""
    while os.path.lexists(path):
        with suppress(FileNotFoundError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _containerd_answers(node: ProcessRecord | None) -> bool:
    ctr = ["ctr", "--address", nodes.CONTAINERD_SOCKET, "--connect-timeout", "1s", "version"]
    return node is not None and succeeds([*entering(node), *ctr])


def readiness(kubectl: Callable[..., str]) -> dict[str, bool]:
    """Returns whether each registered node is Ready."""
    items = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    return {
        item["metadata"]["name"]: any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in item.get("status", {}).get("conditions", [])
        )
        for item in items
    }
