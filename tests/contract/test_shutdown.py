"""A pod's termination grace period exceeds the time that its runtime needs to shut down."""

from __future__ import annotations

from edge_operator.nodes.rollouts import SURGE
from edge_operator.nodes.runtimes import Host, Runtime
from edge_operator.nodes.workloads import runtime_deployment
from edge_operator.settings import Settings
from edge_runtime.server import DRAIN
from edge_runtime.shutdown import GOODBYE, GRACE


def test_a_pod_is_not_killed_before_the_runtime_has_ended_by_itself() -> None:
    settings = Settings("http://store:8080", "edge-runtime:1")
    made = runtime_deployment(Runtime("shop", "edge-a"), Host("host-a", ready=True), settings, SURGE)
    pod = made["spec"]["template"]["spec"]
    assert "--grace" not in pod["containers"][0]["args"]
    assert pod["terminationGracePeriodSeconds"] > DRAIN + GRACE + 2 * GOODBYE
