"""`ei` as a person runs it against the cluster of the end-to-end tests."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from trials import Trial


def kubeconfig(trial: Trial, folder: Path, token: str = "") -> Path:
    """Writes a kubeconfig for the API server; with a token instead of the administrator's certificate."""
    config = json.loads(trial.cluster.kubectl("config", "view", "--raw", "-o", "json"))
    if token:
        for user in config["users"]:
            user["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def ei(trial: Trial, *arguments: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command in the network of the node in the cloud, which no client of a service is in.

    config: a kubeconfig. Default: the administrator's.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = config or kubeconfig(trial, Path(folder))
        argv = [*trial.bed.in_node("cloud"), sys.executable, "-m", "edge_cli.app", *arguments]
        environment = {**os.environ, "KUBECONFIG": str(path)}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)


def document(trial: Trial, *arguments: str, config: Path | None = None) -> Any:
    """The document that a command prints as JSON; it must succeed."""
    done = ei(trial, *arguments, "-o", "json", config=config)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
