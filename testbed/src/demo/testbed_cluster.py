"""Runs the demo on the testbed of this checkout."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from demo.clusters import Entrance, Images, Say, Step, TritonAddress
from demo.phases import CUT
from testbed import Testbed, images
from testbed.topology import CLOUD, NodeSpec

# Their speeds are set once the model exists: see `calibration`.
NODES = (
    NodeSpec("edge-a", "gateway", None),
    NodeSpec("edge-b", "camera", None),
    NodeSpec("edge-c", "camera", None),
)


class TestbedCluster:
    """A testbed that the demo starts and, unless it is to be kept, tears down."""

    __test__ = False
    shaped = True
    triton: TritonAddress | None = None
    cloud_selector: Mapping[str, str] = {"edge-intelligence.io/tier": "cloud"}

    def __init__(self, root: Path) -> None:
        self._root = root
        self._bed = Testbed.of_checkout(root)

    def start(self, step: Step, say: Say) -> None:
        with step("cluster"):
            self._bed.up(nodes=NODES, progress=say, beside=images.ALL)
            self.set_links(None)
        with step("images"):
            self.images = Images(**self._bed.images(progress=say))
        with step("triton"):
            self._bed.start_triton(progress=say)
        with step("prometheus"):
            self._bed.start_prometheus(progress=say)

    def set_speeds(self, speeds: Mapping[str, float | None]) -> None:
        for node in NODES:
            if node.device_class in speeds:
                self._bed.node(node.name).set_speed(speeds[node.device_class])

    def pin(self, nodes: Sequence[str]) -> None:
        # A device that is slower than a core has one. With more, its pods would not wait for each other.
        for number, node in enumerate(NODES):
            processor = number % (os.cpu_count() or 1)
            self._bed.node(node.name).set_processors([processor] if node.name in nodes else None)

    def kubectl(self, *args: str, text: str | None = None) -> str:
        return self._bed.kubectl(*args, input=text)

    def helm(self, *args: str) -> str:
        return self._bed.helm(*args)

    def entrance(self, node: str, namespace: str, service: str) -> Entrance:
        address = self._bed.kubectl(
            "get", "service", service, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}"
        )
        return Entrance(self._bed.in_node(node), address.strip())

    def reach(self, namespace: str, service: str) -> Entrance:
        return self.entrance(CLOUD, namespace, service)

    def set_links(self, bps: float | None) -> None:
        for node in NODES:
            link = self._bed.link(node.name)
            if bps == CUT:
                link.cut()
            else:
                link.set_rate(bps)
                link.restore()

    def stop(self) -> None:
        self._bed.down()

    def where_to_look(self) -> Sequence[str]:
        return (
            f"{self._root / '.testbed' / 'logs'} (the cluster's daemons)",
            ".venv/bin/testbed kubectl describe inferenceservice digits",
            ".venv/bin/testbed kubectl get pods,placements -A -o wide",
            ".venv/bin/testbed kubectl logs -n edge-intelligence deploy/edge-operator",
        )

    def try_next(self) -> Sequence[str]:
        return (
            ".venv/bin/testbed kubectl get inferenceservices -A",
            ".venv/bin/testbed shell ei explain digits",
            ".venv/bin/testbed forward edge-intelligence/edge-console  # the console; docs/console.md",
            ".venv/bin/testbed link edge-a --rate 1M",
            "make down",
        )
