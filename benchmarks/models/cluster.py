"""Files served by services of a real cluster, on the routes of each mode: `--cluster`. Needs root."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.models.catalogue import ModelFile
from benchmarks.models.inputs import requests, save_samples
from benchmarks.models.planning import MODES, SAMPLES, service
from benchmarks.models.servers import NAMESPACE
from benchmarks.models.truth import Truth
from benchmarks.pool.services import HOSTNAME, Document, edge_pool
from benchmarks.pool.site import Site, installed
from benchmarks.runtime.commands import Say
from testbed import Testbed

ROOT: Final = Path(__file__).resolve().parents[2]
_NODE: Final = "edge-a"
_POOL: Final = "bench"


def serve_on_cluster(models: Sequence[ModelFile], say: Say) -> dict[str, Any]:
    """Returns, by service, its route, what differs, and its latencies: of the plan and as measured.

    Starts the testbed unless it runs, and deletes all its DevicePools.
    """
    bed = Testbed.of_checkout(ROOT)
    ran = bed.running()
    try:
        found, _ = installed(ROOT, say)
        site = Site(found.root, found.bed, found.images, say, NAMESPACE)
        site.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
        site.clear()
        site.apply([edge_pool()])
        results: dict[str, Any] = {}
        for model in models:
            results |= _serve(site, model)
        return results
    finally:
        if not ran:
            bed.down()


def _serve(site: Site, model: ModelFile) -> dict[str, Any]:
    truth = Truth(model.path)
    feeds = requests(model.inputs, truth.dtypes)[0]
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / SAMPLES
        save_samples(samples, feeds)
        for path in (model.path, model.path.with_name(f"{model.path.name}.data"), samples):
            if path.exists():
                site.upload(path, f"{model.name}/{path.name}")
    services = {mode: _manifest(model, mode) for mode in MODES}
    site.apply(list(services.values()))
    names = [body["metadata"]["name"] for body in services.values()]
    site.wait_ready(names)
    (host,) = {text.partition("=")[2] for text in site.hosts(names, _NODE)}
    argv = [
        *site.bed.in_node(_NODE),
        sys.executable,
        "-m",
        "benchmarks.models.asking",
        model.name,
        host,
        *names,
    ]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, cwd=site.root, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    for name, each in found.items():
        each["predicted"] = _predicted(site, name, each["route"])
    site.bed.kubectl("delete", "inferenceservices", *names, "-n", NAMESPACE, "--timeout=180s")
    return found


def _manifest(model: ModelFile, mode: Any) -> Document:  # noqa: ANN401 - one of MODES
    body = service(model, mode).body()
    spec = body["spec"] | {"devicePool": _POOL, "entryNodes": {"nodeSelector": {HOSTNAME: _NODE}}}
    metadata = {"name": body["metadata"]["name"], "namespace": NAMESPACE}
    return {**body, "metadata": metadata, "spec": spec}


def _predicted(site: Site, name: str, route: str) -> str:
    """The latency of a route in the Placement of a service."""
    routes = site.get("placement", f"{name}.{_NODE}", "-n", NAMESPACE)["spec"]["routes"]
    return next((str(each["predictedLatency"]) for each in routes if each["name"] == route), "")
