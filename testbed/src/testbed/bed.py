"""The testbed of a checkout as a library, for the commands, the demo and the end-to-end tests."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from testbed import binaries, controlplane, images, k3s, kwok, prerequisites, prometheus, triton
from testbed.background import in_background
from testbed.binaries import Binaries
from testbed.builds import Builder, Image
from testbed.cluster import CONTROL_PLANE, KWOK, PROMETHEUS, Cluster, readiness
from testbed.errors import BadValueError, CommandFailedError, KubectlFailed, NotRunningError
from testbed.images import ALL, Build, Shelf
from testbed.layout import Layout
from testbed.locks import holding
from testbed.network import Network
from testbed.oci import write_derived_image
from testbed.processes import ProcessRecord, ending_with, run, succeeds, tail, wait_until, working
from testbed.progress import Progress, print_line, step
from testbed.rates import checked_loss, checked_rate
from testbed.topology import CLOUD, DEFAULT_NODES, Likeness, NodeSpec, Topology, checked_speed

PROMETHEUS_SECONDS = 60
KWOK_SECONDS = 60
AVAILABLE_SECONDS = 180
MANIFESTS = Path(__file__).with_name("manifests")
CLIENTS = ("kubectl", "helm")
NOT_RUNNING = "the testbed is not running: start it with `testbed up`"


@dataclass(frozen=True)
class Link:
    """A node's access link: its way to the cloud. Edge nodes reach each other by their local network."""

    node: str
    network: Network

    def set_rate(self, bps: float | None) -> None:
        """Shapes both directions to `bps` bit/s; None removes the limit."""
        self.network.set_rate(self.node, None if bps is None else checked_rate(bps))

    def set_local_rate(self, bps: float | None) -> None:
        """Shapes both directions between an edge node and the other edge nodes; None removes the limit."""
        self.network.set_local_rate(self.node, None if bps is None else checked_rate(bps))

    def set_loss(self, share: float | None) -> None:
        """Loses this share of the packets in each direction; None ends it."""
        self.network.set_loss(self.node, None if share is None else checked_loss(share))

    def cut(self) -> None:
        self.network.set_up(self.node, up=False)

    def restore(self) -> None:
        self.network.set_up(self.node, up=True)


@dataclass(frozen=True)
class Node:
    """A node of a running testbed."""

    bed: Testbed
    name: str

    def set_speed(self, speed: float | None) -> None:
        """Limits all pods of the node together to `speed` cores; None removes the limit."""
        self.bed.set_speed(self.name, speed)

    def set_processors(self, processors: Collection[int] | None) -> None:
        """Runs all pods of the node on these processors of the machine, by number; None allows all."""
        self.bed.set_processors(self.name, processors)

    def kill(self) -> None:
        """Cuts the power: kubelet, containerd and all pods end immediately, and the network is down."""
        self.bed.kill_node(self.name)

    def reboot(self, *, offline: bool = False) -> None:
        """Power-cycles the node: all of its processes end and start again; `offline`: with its link cut."""
        self.bed.reboot_node(self.name, offline=offline)


class Testbed:
    """One cluster per checkout. Any process can call any method; only one at a time changes the cluster."""

    __test__ = False

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._cluster = Cluster(layout)

    @classmethod
    def of_checkout(cls, root: Path, cache: Path | None = None, sources: Path | None = None) -> Testbed:
        """The testbed with its state in root/.testbed.

        `cache` (default: root/.cache) can be shared between testbeds; `sources` (default: root) is
        the checkout from which the images are built.
        """
        return cls(Layout.of_checkout(root, cache, sources))

    def build(self, progress: Progress = print_line) -> None:
        """Builds the cluster's programs and all images into the cache, in parallel. Starts nothing."""
        prerequisites.check(progress)
        with holding(self.layout.lock) as lock_fd:
            record = self._cluster.record()
            if record is not None and self.running():
                self._build_images(record, ALL, progress)
                return
            self._cluster.remove()
            try:
                root = self._cluster.start_root(lock_fd)
                with self._building(root, ALL, progress):
                    Binaries(self.layout.binaries, progress, working(root)).all()
            finally:
                self._cluster.remove()

    def up(
        self,
        nodes: Sequence[NodeSpec] | None = None,
        progress: Progress = print_line,
        beside: Sequence[Build] = (),
        like: Likeness = "upstream",
    ) -> None:
        """Boots the cluster and waits until every node is Ready. Does nothing if it runs; cleans up after
        a crash.

        `beside` names images to build in parallel with the programs and the boot of the cluster. `like`: what
        the cluster is built from.
        """
        prerequisites.check(progress, k3s.PACKAGES if like == "k3s" else {})
        with holding(self.layout.lock) as lock_fd:
            if self.running():
                self._adopt(nodes, like)
                return
            self._cluster.remove()
            try:
                topology = Topology.with_cloud(DEFAULT_NODES if nodes is None else nodes, like)
                self._boot(topology, lock_fd, progress, beside)
            except BaseException:
                self._cluster.remove()
                raise

    def down(self) -> None:
        """Tears the cluster down from any state. The logs are kept until the next `up`."""
        with holding(self.layout.lock):
            self._cluster.remove()

    def running(self) -> bool:
        """Whether the cluster was brought up completely and runs."""
        return self.layout.booted.exists() and self._cluster.record() is not None

    def status(self) -> dict[str, Any]:
        """Returns the nodes with readiness and link rate (bit/s), and how often each daemon was started."""
        if not self.running():
            return {"running": False}
        network, topology = self._network(), self.topology
        ready = readiness(self.kubectl)
        machines = (CONTROL_PLANE, *(node.name for node in topology.nodes), PROMETHEUS, KWOK)
        return {
            "running": True,
            "nodes": {
                node.name: {
                    "address": topology.address(node.name),
                    "device_class": node.device_class,
                    "tier": node.tier,
                    "speed": node.speed,
                    "ready": ready.get(node.name, False),
                    "powered": self._cluster.machine(node.name).record() is not None,
                    "link_up": network.is_up(node.name),
                    "link_bps": network.rate(node.name),
                }
                for node in topology.nodes
            },
            "daemons": {
                name: daemon
                for machine in machines
                if self._cluster.machine(machine).record() is not None
                for name, daemon in self._cluster.machine(machine).daemons().items()
            },
        }

    @property
    def topology(self) -> Topology:
        self._require()
        return Topology.from_json(self.layout.plan.read_text())

    def link(self, node: str) -> Link:
        return Link(self.topology.node(node).name, self._network())

    def node(self, node: str) -> Node:
        return Node(self, self.topology.node(node).name)

    def in_node(self, node: str) -> list[str]:
        """Returns the argv prefix that runs a program of this machine in the node's network."""
        name = self.topology.node(node).name
        return ["nsenter", f"--net=/proc/{self._require().pid}/root/run/netns/{name}", "--"]

    def kubectl(self, *args: str, input: str | None = None) -> str:  # noqa: A002 - subprocess calls it so
        return self._client("kubectl", args, input)

    def helm(self, *args: str) -> str:
        return self._client("helm", args, None)

    def client_command(self, program: str, args: Sequence[str]) -> list[str]:
        """Returns the argv of kubectl or helm for this cluster, to run it on the terminal."""
        config = f"--kubeconfig={self.layout.kubeconfig}"
        return [*self.in_node(CLOUD), str(self._binaries()[program]), config, *args]

    def shell_command(self, node: str, program: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Returns the argv and the variables of a program in a node's network, such as a shell.

        kubectl and helm are on its path and use this cluster, as does what reads KUBECONFIG.
        """
        folders = [str(Path(sys.executable).parent), str(self.programs())]
        path = os.pathsep.join([*folders, os.environ.get("PATH", "")])
        variables = {**os.environ, "KUBECONFIG": str(self.layout.kubeconfig), "PATH": path}
        return [*self.in_node(node), *(program or [os.environ.get("SHELL", "/bin/sh")])], variables

    def programs(self) -> Path:
        """Returns a folder with kubectl and helm by these names: in the cache, their names have versions."""
        folder, found = self.layout.state / "programs", self._binaries()
        folder.mkdir(exist_ok=True)
        for program in CLIENTS:
            with suppress(FileExistsError):
                (folder / program).symlink_to(found[program])
        return folder

    def images(
        self, progress: Progress = print_line, names: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, str]:
        """Builds the images of operator and runtime if needed, and imports them into their nodes.

        names: more references that the nodes know them by, by name. Returns their references by name.
        """
        with holding(self.layout.lock):
            builder = Builder(self.layout, self._require(), progress)
            operator = images.operator_image(self.layout, builder)
            runtime = images.runtime_image(self.layout, builder)
            everywhere = [node.name for node in self.topology.nodes]
            with step(progress, f"operator image into {CLOUD}, runtime image into {', '.join(everywhere)}"):
                self._import(operator.archive, [CLOUD])
                self._import(runtime.archive, everywhere)
                for name, image, nodes in (("operator", operator, [CLOUD]), ("runtime", runtime, everywhere)):
                    if more := names.get(name):
                        self._cluster.on_every(nodes, partial(_add_name, image, more))
        return {"operator": operator.reference, "runtime": runtime.reference}

    def images_at(self, sources: Path, commit: str, progress: Progress = print_line) -> None:
        """Builds the images of operator and runtime of another commit, and imports them into all nodes.

        sources: the files of that commit, whose chart can place the operator on any node. The nodes know the
        images as the chart names them, with the commit as the tag.
        """
        with holding(self.layout.lock):
            layout = replace(self.layout, sources=sources)
            builder = Builder(layout, self._require(), progress)
            nodes = [node.name for node in self.topology.nodes]
            for name in ("operator", "runtime"):
                image = images.image_at(layout, builder, name, commit)
                self._import(image.archive, nodes)
                reference = f"{images.CHART_NAMES[name].partition(':')[0]}:{commit}"
                self._cluster.on_every(nodes, partial(_add_name, image, reference))

    def add_to_runtime(self, files: Mapping[str, bytes], folder: Path, name: str) -> str:
        """Gives all nodes an image of the runtime with further files, by their paths. Returns its reference.

        folder: where its archive is kept. name: of the image.
        """
        with holding(self.layout.lock):
            runtime = images.runtime_image(self.layout, Builder(self.layout, self._require(), print_line))
            reference = images.reference(name)
            archive = folder / f"{name}.oci.tar"
            write_derived_image(runtime.archive, reference, files, archive)
            self._import(archive, [node.name for node in self.topology.nodes])
        return reference

    def start_triton(self, progress: Progress = print_line) -> None:
        """Starts a Triton server without models: triton.triton.svc.cluster.local, ports 8000 (HTTP), 8001
        (gRPC) and 8002 (metrics).
        """
        with holding(self.layout.lock):
            self._import_triton(progress)
            with step(progress, "Triton"):
                self._apply("triton")
                self._wait_available(triton.NAMESPACE, "triton")

    def start_outside_triton(self, progress: Progress = print_line) -> str:
        """Starts a second Triton server, as if it were outside the cluster; returns its host:port.

        It accepts the key of the first one, which must have been started.
        """
        with holding(self.layout.lock):
            self._import_triton(progress)
            with step(progress, "second Triton"):
                second = triton.outside((MANIFESTS / "triton.yaml").read_text())
                self.kubectl("apply", "-f", "-", input=second)
                self._wait_available(triton.NAMESPACE, triton.OUTSIDE)
        return f"{self.topology.address(CLOUD)}:{triton.PORT}"

    def stop_outside_triton(self) -> None:
        """Removes the second Triton server, if there is one."""
        what = ("deployment,service", triton.OUTSIDE, "-n", triton.NAMESPACE)
        self.kubectl("delete", *what, "--ignore-not-found", "--cascade=foreground")

    def start_prometheus(self, progress: Progress = print_line) -> str:
        """Starts Prometheus on the cloud side; returns its URL inside the testbed's networks."""
        url = f"http://{self.topology.address(CLOUD)}:{prometheus.PORT}"
        with holding(self.layout.lock), step(progress, "Prometheus"):
            machine = self._cluster.machine(PROMETHEUS)
            if machine.record() is None:
                daemons = prometheus.daemons(self.layout, controlplane.server(self.topology))
                machine.start(daemons, inside=self._require(), netns=CLOUD)
            wait_until(
                lambda: succeeds([*self.in_node(CLOUD), "promtool", "query", "instant", url, "vector(1)"]),
                PROMETHEUS_SECONDS,
                lambda: f"Prometheus is not ready: {tail(self.layout.logs / 'prometheus.log', 3)}",
                every_seconds=0.5,
            )
        return url

    def start_kwok(self, count: int, progress: Progress = print_line) -> None:
        """Adds simulated nodes, whose pods run nothing, until there are `count` and all are Ready."""
        with holding(self.layout.lock):
            root = self._require()
            program = Binaries(self.layout.binaries, progress, working(root)).one(binaries.KWOK)
            machine = self._cluster.machine(KWOK)
            if machine.record() is None:
                daemons = kwok.daemons(self.layout, self.topology.address(CLOUD), program)
                machine.start(daemons, inside=root, netns=CLOUD)
            nodes = [kwok.node(number) for number in range(count)]
            with step(progress, f"{count} simulated nodes"):
                self.kubectl("apply", "-f", "-", input=json.dumps(kwok.object_list(nodes)))
                names = {node["metadata"]["name"] for node in nodes}
                wait_until(
                    lambda: all(readiness(self.kubectl)[name] for name in names),
                    KWOK_SECONDS,
                    lambda: f"simulated nodes are not Ready: {tail(self.layout.logs / 'kwok.log', 3)}",
                    every_seconds=0.5,
                )

    def set_speed(self, node: str, speed: float | None) -> None:
        topology = self.topology
        spec = replace(topology.node(node), speed=None if speed is None else checked_speed(speed))
        self._cluster.cgroups.set_speed(node, speed)
        self._write_plan(topology.with_node(spec))

    def set_processors(self, node: str, processors: Collection[int] | None) -> None:
        self._cluster.cgroups.set_processors(self.topology.node(node).name, processors)

    def kill_node(self, node: str) -> None:
        with holding(self.layout.lock):
            self._cluster.power_off(self._require(), self.topology.node(node).name)

    def reboot_node(self, node: str, *, offline: bool = False) -> None:
        with holding(self.layout.lock):
            root, spec = self._require(), self.topology.node(node)
            self._cluster.power_off(root, node)
            self._network().set_up(node, up=not offline)
            self._cluster.power_on(root, self.topology, spec, self._binaries())

    def _client(self, program: str, args: Sequence[str], text: str | None) -> str:
        try:
            return run([*ending_with(os.getpid()), *self.client_command(program, args)], text=text)
        except CommandFailedError as error:
            raise KubectlFailed([program, *args], error.code, error.output) from None

    def _require(self) -> ProcessRecord:
        record = self._cluster.record()
        if record is None or not self.layout.plan.exists():
            raise NotRunningError(NOT_RUNNING)
        return record

    def _network(self) -> Network:
        return Network(self._require())

    def _binaries(self, progress: Progress = print_line) -> dict[str, Path]:
        built = Binaries(self.layout.binaries, progress, working(self._require()))
        more = binaries.K3S if self.topology.like == "k3s" else ()
        return built.all() | {program.name: built.one(program) for program in more}

    def _write_plan(self, topology: Topology) -> None:
        unfinished = self.layout.plan.with_suffix(".new")
        unfinished.write_text(topology.to_json())
        unfinished.replace(self.layout.plan)

    def _import(self, archive: Path, names: Sequence[str]) -> None:
        wanting = [name for name in names if not Shelf(self.layout, name).holds(archive)]
        self._cluster.on_every(
            wanting, lambda name, machine: Shelf(self.layout, name).import_archive(machine, archive)
        )

    def _import_triton(self, progress: Progress) -> None:
        image = images.triton_image(self.layout, Builder(self.layout, self._require(), progress))
        self._import(image.archive, [CLOUD])

    def _adopt(self, nodes: Sequence[NodeSpec] | None, like: Likeness) -> None:
        """Adapts the running cluster: sets the speeds. Raises an error if the nodes or the parts differ."""
        there = self.topology
        if there.like != like:
            raise BadValueError(f"the testbed runs like {there.like}: run `testbed down` first")
        if nodes is None:
            return
        wanted = Topology.with_cloud(nodes)
        if [replace(n, speed=None) for n in wanted.nodes] != [replace(n, speed=None) for n in there.nodes]:
            names = ", ".join(f"{n.name}:{n.device_class}" for n in there.nodes)
            raise BadValueError(f"the testbed runs with other nodes ({names}): run `testbed down` first")
        for node in nodes:
            self.set_speed(node.name, node.speed)

    @contextmanager
    def _building(self, root: ProcessRecord, wanted: Sequence[Build], progress: Progress) -> Iterator[None]:
        """Builds images while the block runs; the builds end with the testbed's outermost machine."""
        if not wanted:
            yield
            return
        with in_background(lambda: self._build_images(root, wanted, progress), self._cluster.remove):
            yield

    def _build_images(self, root: ProcessRecord, wanted: Sequence[Build], progress: Progress) -> None:
        builder = Builder(self.layout, root, progress)
        for build in wanted:
            build(self.layout, builder)

    def _boot(self, topology: Topology, lock_fd: int, progress: Progress, beside: Sequence[Build]) -> None:
        layout, cluster = self.layout, self._cluster
        layout.clear_logs()
        count = len(topology.nodes)
        root = cluster.start_root(lock_fd)
        with step(progress, f"cluster of {count} nodes"), self._building(root, beside, progress):
            self._write_plan(topology)
            binary = self._binaries(progress)
            with step(progress, "network, certificates, machines"):
                cluster.boot(root, topology, binary)
            with step(progress, "API server"):
                cluster.wait_for_api(self.kubectl)
            self._apply("coredns")
            names = [node.name for node in topology.nodes]
            self._import(images.program_image(layout, "pause", binary["pause"]), names)
            self._import(images.program_image(layout, "coredns", binary["coredns"]), [CLOUD])
            if topology.like == "k3s":
                self._apply("k3s")
                jobs = images.k3s_jobs_image(layout, binary[binaries.K3S_JOBS.name], binary["helm"])
                self._import(jobs, names)
            with step(progress, "nodes Ready"):
                cluster.wait_for_nodes(self.kubectl, topology)
            if topology.like == "k3s":
                self.kubectl("label", "node", CLOUD, k3s.SERVER_LABEL)
                for node in topology.nodes:
                    self.kubectl("patch", "node", node.name, "-p", k3s.subnet_patch(topology, node))
            with step(progress, "cluster DNS"):
                self._wait_available("kube-system", "coredns")
            layout.booted.touch()

    def _apply(self, name: str) -> None:
        """Applies `manifests/NAME.yaml`."""
        self.kubectl("apply", "-f", str(MANIFESTS / f"{name}.yaml"))

    def _wait_available(self, namespace: str, deployment: str) -> None:
        """Waits until the deployment's pods are ready. Raises kubectl's error otherwise."""
        timeout = f"--timeout={AVAILABLE_SECONDS}s"
        self.kubectl("-n", namespace, "rollout", "status", f"deployment/{deployment}", timeout)


def _add_name(image: Image, reference: str, _: str, machine: ProcessRecord) -> None:
    images.add_name(machine, image, reference)
