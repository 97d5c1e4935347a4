"""Prometheus on the cloud side: scrapes pods with the usual annotations, and evaluates the chart's rules.

Targets have the labels that a PodMonitor of the Prometheus Operator gives them, and metrics keep their own
labels of the same name (honorLabels), so that rules and dashboards meet the series that users have.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from testbed.layout import Layout
from testbed.processes import DaemonSpec

PORT = 9090
SCRAPE_SECONDS = 15
EVALUATION_SECONDS = 5
RULES = Path("charts/edge-intelligence/files/rules.yaml")
DISCOVERY = Path(__file__).with_name("discovery.py")


def config(targets: Path, rules: Path) -> str:
    """Returns prometheus.yml for a file of targets and one of rules."""
    discovery = {"files": [str(targets)], "refresh_interval": "1m"}
    job = {"job_name": "pods", "honor_labels": True, "file_sd_configs": [discovery]}
    timing = {
        "scrape_interval": f"{SCRAPE_SECONDS}s",
        "scrape_timeout": "10s",
        "evaluation_interval": f"{EVALUATION_SECONDS}s",
    }
    found = {"global": timing, "rule_files": [str(rules)], "scrape_configs": [job]}
    return yaml.safe_dump(found)


def daemons(layout: Layout, server: str) -> list[DaemonSpec]:
    """Returns the daemons of Prometheus and of its service discovery at the API `server`."""
    folder, pki = layout.state / "prometheus", layout.pki
    folder.mkdir(parents=True, exist_ok=True)
    settings, targets = folder / "prometheus.yml", folder / "targets.json"
    settings.write_text(config(targets, layout.sources / RULES))
    targets.write_text(json.dumps([]))
    files = [str(path) for path in (pki / "ca.crt", pki / "admin.crt", pki / "admin.key", targets)]
    argv = [
        "prometheus",
        f"--config.file={settings}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address=0.0.0.0:{PORT}",
    ]
    return [
        DaemonSpec("prometheus", argv, env={"GOMAXPROCS": "2"}),
        DaemonSpec("prometheus-discovery", [sys.executable, "-I", "-S", str(DISCOVERY), server, *files]),
    ]
