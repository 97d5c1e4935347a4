"""Checks whether KServe's Python clients work with our server."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runtime.commands import Say
from benchmarks.runtime.models import write_models
from benchmarks.runtime.peers import SERVERS, install, started
from testbed.errors import TestbedError


def measure(names: Sequence[str], folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """Returns `kserve_client`: the results of calls by KServe's REST and gRPC clients, all of them true."""
    if "kserve" not in names:
        return {}
    model = write_models(folder / "models")["1KB"]
    script = str(SERVERS / "kserve_client.py")
    with started("ours", "1KB", model, folder, say) as server:
        argv = [str(install("kserve", say)), script, str(server.http), str(server.grpc)]
        ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if ran.returncode:
        raise TestbedError(f"KServe's clients failed: {ran.stderr.strip().splitlines()[-1]}")
    found = json.loads(ran.stdout.splitlines()[-1])
    say(f"KServe's clients: {found}")
    return {"kserve_client": found}
