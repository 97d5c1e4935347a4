"""Triton's load tool runs to its end against a service of the cluster, and against its Triton."""

import json
import subprocess
import sys

import pytest

from testbed.layout import Layout
from testbed.perf_analyzer import PerfAnalyzer, install
from trials import GATEWAY, READ, Document, Trial

REQUESTS = ("--request-count", "100")
PROTOCOLS = ("http", "grpc")
TRITON_PORTS = {"http": 8000, "grpc": 8001}


@pytest.fixture(scope="module")
def tool(installed: Trial) -> PerfAnalyzer:
    return install(Layout.of_checkout(installed.root))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_it_runs_to_its_end_against_a_service(trial: Trial, tool: PerfAnalyzer, protocol: str) -> None:
    entrance = trial.entrance(GATEWAY)
    address = f"{entrance.host}:{entrance.http if protocol == 'http' else entrance.grpc}"
    inside = PerfAnalyzer([*entrance.prefix, *tool.argv])
    load = inside.measure("digits", address, protocol, *REQUESTS, timeout_seconds=180)
    assert load.rate > 0
    assert 0 < load.compute < load.latency
    statistics = _statistics(trial)
    assert statistics["inference_count"] >= 100
    assert statistics["inference_stats"]["success"]["count"] >= 100


def _statistics(trial: Trial) -> Document:
    """What the gateway's runtime has counted of the example."""
    entrance = trial.entrance(GATEWAY)
    url = f"http://{entrance.host}:{entrance.http}/v2/models/digits/stats"
    argv = [*entrance.prefix, sys.executable, "-c", READ, url]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
    (found,) = json.loads(said)["model_stats"]
    return dict(found)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_it_runs_to_its_end_against_the_cluster_s_triton(
    trial: Trial, tool: PerfAnalyzer, protocol: str
) -> None:
    tail = min(trial.triton_models())
    entrance = trial.cluster.reach("triton", "triton")
    address = f"{entrance.host}:{TRITON_PORTS[protocol]}"
    inside = PerfAnalyzer([*entrance.prefix, *tool.argv])
    shapes = [
        argument
        for name, shape in _inputs(trial, tail).items()
        for argument in ("--shape", f"{name}:{','.join(str(max(size, 1)) for size in shape)}")
    ]
    load = inside.measure(tail, address, protocol, *REQUESTS, *shapes, timeout_seconds=180)
    assert load.rate > 0


def _inputs(trial: Trial, model: str) -> dict[str, list[int]]:
    """Shapes of a tail's inputs by name."""
    path = f"/api/v1/namespaces/triton/services/http:triton:8000/proxy/v2/models/{model}"
    found = json.loads(trial.cluster.kubectl("get", "--raw", path))
    return {tensor["name"]: tensor["shape"] for tensor in found["inputs"]}
