"""The testbed with the example on it, as the demo sets it up, under a steady load."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runtime.commands import Say
from demo import installation
from demo.clusters import Entrance
from demo.testbed_cluster import NODES, TestbedCluster
from demo.training import SCRIPT, TrainedModel, Training
from testbed import Testbed
from testbed.progress import step

RATE = 8.0
"""Requests a second at each entry node."""


@dataclass(frozen=True)
class Serving:
    """The cluster with the example, which is Ready. model: of the requests. speeds: cores by device class."""

    bed: Testbed
    cluster: TestbedCluster
    model: TrainedModel
    say: Say
    speeds: Mapping[str, float]

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Edge nodes as fast as the machine, so that a new model is measured sooner."""
        try:
            self.cluster.set_speeds(dict.fromkeys(self.speeds))
            yield
        finally:
            self.cluster.set_speeds(self.speeds)

    @contextmanager
    def load(self, rate: float = RATE) -> Iterator[None]:
        """Sends requests at all entry nodes while the block runs. rate: of each, in requests a second."""
        with ExitStack() as stack:
            for node in NODES:
                service = installation.runtime_service(self.cluster, node.name)
                entrance = self.cluster.entrance(node.name, "default", service)
                stack.enter_context(_client(self._argv(node.name, entrance, rate)))
            yield

    def _argv(self, node: str, entrance: Entrance, rate: float) -> list[str]:
        argv = [*entrance.prefix, sys.executable, "-m", "demo.client", "--node", node]
        argv += ["--model", installation.SERVICE, "--host", entrance.host, "--http", str(entrance.http)]
        argv += ["--grpc", str(entrance.grpc), "--protocol", "http", "--rate", str(rate)]
        return [*argv, "--timeout", "30", "--held-out", str(self.model.held_out)]


@contextmanager
def _client(argv: Sequence[str]) -> Iterator[None]:
    """A client that sends until the end of the block, and ends when its standard input closes."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stdin is not None
        process.stdin.write("start\n")
        process.stdin.flush()
        try:
            yield
        finally:
            process.stdin.close()
            process.terminate()


def prepared(root: Path, say: Say) -> Serving:
    """Starts the testbed unless it runs, installs the operator and the example, and waits until it is Ready.

    Raises TestbedError, DemoError.
    """
    cluster, bed = TestbedCluster(root), Testbed.of_checkout(root)
    model = Training(root / SCRIPT, root / ".cache", say).run()
    cluster.start(lambda name: step(say, name, announce=True), say)
    speeds = installation.set_speeds(cluster, root, model, say)
    with step(say, "helm install", announce=True):
        installation.install(cluster, root)
    installation.upload(cluster, model.onnx)
    installation.apply(cluster, root)
    with step(say, "the example Ready", announce=True):
        installation.wait_ready(cluster, say)
        installation.settle_slo(cluster, root, say)
    return Serving(bed, cluster, model, say, speeds)
