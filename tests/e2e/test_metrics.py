"""Prometheus receives the runtimes' metrics over the links that requests use."""

import json
import subprocess
import sys
import urllib.parse
from typing import Any

from trials import PATIENCE, Trial

ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


def query(trial: Trial, address: str, expression: str) -> list[dict[str, Any]]:
    url = f"{address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    argv = [*trial.bed.in_node("cloud"), sys.executable, "-c", ASK, url]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return []  # the caller tries again
    found: list[dict[str, Any]] = json.loads(done.stdout)["data"]["result"]
    return found


def test_prometheus_has_requests_slo_and_bandwidth_of_every_entry_node(trial: Trial) -> None:
    address = trial.bed.start_prometheus(lambda _: None).rstrip("/")
    with trial.load("edge-a"), trial.load("edge-b", protocol="grpc"), trial.load("edge-c"):
        for expression in (
            'sum by (instance) (edge_request_duration_seconds_count{service="digits"}) > 0',
            'sum by (instance) (edge_slo_requests_total{service="digits", met="true"}) > 0',
            "edge_link_bandwidth_bits > 0",
            "edge_active_route > 0",
        ):
            trial.wait(
                f"three instances with {expression}",
                lambda expression=expression: len(query(trial, address, expression)) >= 3,  # type: ignore[misc]
                PATIENCE,
            )
