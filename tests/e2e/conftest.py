"""One cluster for all end-to-end tests, with the operator, Triton and the example on it; removed at the end.

EDGE_KEEP_CLUSTER=1 leaves it running, so that the next run starts immediately.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo import installation
from demo.clusters import Say, Step
from demo.testbed_cluster import TestbedCluster
from demo.training import SCRIPT, Training
from terminating import interrupted_by_sigterm
from testbed.background import in_background
from trials import Trial

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the cluster."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("e2e")


def speaker(config: pytest.Config) -> Say:
    """Prints past pytest's capture: booting takes longer than two seconds."""
    capture = config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stderr.write(f"e2e: {line}\n")
            sys.stderr.flush()

    return say


def step_with(say: Say) -> Step:
    """Steps that are printed when they begin."""

    @contextmanager
    def step(name: str) -> Iterator[None]:
        say(f"{name} ...")
        yield

    return step


@pytest.fixture(scope="session")
def installed(pytestconfig: pytest.Config) -> Iterator[Trial]:
    """The cluster with the operator, the model in the store and the example applied and Ready."""
    say = speaker(pytestconfig)
    step = step_with(say)
    training, cluster = Training(ROOT / SCRIPT, ROOT / ".cache", say), TestbedCluster(ROOT)
    with interrupted_by_sigterm():
        try:
            with in_background(training.run, training.stop):
                cluster.start(step, say)
            model = training.model
            speeds = installation.set_speeds(cluster, ROOT, model, say)
            with step("helm install"):
                installation.install(cluster, ROOT)
            installation.upload(cluster, model.onnx)
            installation.apply(cluster, ROOT)
            with step("waiting for the example to be Ready"):
                installation.wait_ready(cluster, say)
                slo = installation.settle_slo(cluster, ROOT, say)
            found = Trial(ROOT, cluster, model, slo, speeds)
            found.check_plan()
            yield found
        finally:
            if not os.environ.get("EDGE_KEEP_CLUSTER"):
                cluster.stop()


@pytest.fixture
def trial(installed: Trial) -> Iterator[Trial]:
    """The same state before every test: links unshaped and up, the example in its own mode and Ready."""
    installed.cluster.set_links(None)
    installation.apply(installed.cluster, ROOT, installed.slo)
    installation.wait_ready(installed.cluster, lambda _: None)
    yield installed
    installed.cluster.set_links(None)
