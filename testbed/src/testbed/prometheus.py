"""Prometheus on the cloud side: scrapes every pod with the usual annotations."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from testbed.layout import Layout
from testbed.processes import DaemonSpec

PORT = 9090
SCRAPE_SECONDS = 15
DISCOVERY = Path(__file__).with_name("discovery.py")


def config(targets: Path) -> str:
    """Returns prometheus.yml for a file of targets."""
    job = {"job_name": "pods", "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1m"}]}
    timing = {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": "10s"}
    return yaml.safe_dump({"global": timing, "scrape_configs": [job]})


def daemons(layout: Layout, server: str) -> list[DaemonSpec]:
    """Returns the daemons of Prometheus and of its service discovery at the API `server`."""
    folder, pki = layout.state / "prometheus", layout.pki
    folder.mkdir(parents=True, exist_ok=True)
    settings, targets = folder / "prometheus.yml", folder / "targets.json"
    settings.write_text(config(targets))
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
