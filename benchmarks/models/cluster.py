"""Files served by services of a real cluster, on every route of each mode: `--cluster`. Needs root."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.models.catalogue import ModelFile
from benchmarks.models.comparisons import compared, near
from benchmarks.models.inputs import measured_feeds, save_samples
from benchmarks.models.planning import MODES, SAMPLES
from benchmarks.models.predictions import CLASS, Planned
from benchmarks.models.servers import NAMESPACE
from benchmarks.models.truth import Truth
from benchmarks.pool.services import Document, pool
from benchmarks.pool.site import Site, installed
from benchmarks.runtime.commands import Say
from edge_api.quantities import parse_quantity
from testbed import Testbed
from testbed.errors import KubectlFailed, NotReadyInTimeError

ROOT: Final = Path(__file__).resolve().parents[2]
ROUNDS: Final = 8
"""Of requests of each shape by each route: other load on the machine disturbs some of them."""
RATE: Final = 200e6
"""Of the entry node's link, in bit/s."""
SPEED: Final = 0.25
"""Of the entry node, in cores: a hop is worth its time."""
UNLIMITED: Final = ("voice detection",)
"""Kinds of files that run as fast as the machine: a request takes less time than a quota's period."""
_NODE: Final = "edge-a"
_POOL: Final = "bench"
_SLO: Final = {"latency": "5s", "percentile": 50}
_SELECTOR: Final = {"edge-intelligence.io/device-class": CLASS}
_API: Final = "edge-intelligence.io/v1alpha1"
_MEASURED: Final = 400.0
_LOADED: Final = 120.0
_STEP: Final = 0.8
"""Part of the bandwidth that a route needs, at which the next one is used."""


def serve_on_cluster(models: Sequence[ModelFile], say: Say) -> dict[str, Any]:
    """Returns, by file, what differs, and a row for each route and shape: its latency, planned and measured.

    A file that cannot be served has `failed`, and the rows until then. Starts the testbed unless it runs, and
    deletes all its DevicePools.
    """
    bed = Testbed.of_checkout(ROOT)
    ran = bed.running()
    try:
        found, _ = installed(ROOT, say)
        site = Site(found.root, found.bed, found.images, say, NAMESPACE)
        site.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
        site.clear()
        site.apply([pool(_POOL, [(CLASS, _SELECTOR)])])
        files: dict[str, Any] = {}
        rows: list[dict[str, Any]] = []
        for model in models:
            speed = None if model.kind in UNLIMITED else SPEED
            bed.node(_NODE).set_speed(speed)
            bed.link(_NODE).set_rate(RATE)
            files[model.name] = {"cores": speed}
            try:
                files[model.name] |= _Service(site, model).measure(rows)
            except (NotReadyInTimeError, KubectlFailed, subprocess.CalledProcessError) as error:
                files[model.name]["failed"] = str(error)
                say(f"{model.name}: {error}")
        return {
            "rate": RATE,
            "rounds": ROUNDS,
            "files": files,
            "rows": rows,
            "compared": len(rows),
            "near": sum(map(near, rows)),
        }
    finally:
        if ran:
            bed.node(_NODE).set_speed(None)
            bed.link(_NODE).set_rate(None)
        else:
            bed.down()


class _Service:
    """A service of one file, whose manifest has nothing but what every service needs."""

    def __init__(self, site: Site, model: ModelFile) -> None:
        self._site, self._model, self._name = site, model, model.name

    def measure(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Serves the file by each mode, and adds its rows.

        Returns `wrong`, what differs from onnxruntime, and `samples`, whether they were needed.
        """
        self._upload()
        self._site.apply([self._manifest()])
        try:
            self._site.wait_ready([self._name])
            first = self._ask("")  # of a file with open sizes, the first requests tell them
            samples = self._wait_measured()
            for mode in MODES:
                self._mode(mode, rows)
            own = [row for row in rows if row["model"] == self._name]
            wrong = "; ".join(each["wrong"] for each in [*first, *own] if each["wrong"])
            return {"wrong": wrong, "samples": samples}
        finally:
            self._kubectl("delete", "inferenceservices", self._name, "-n", NAMESPACE, "--timeout=180s")

    def _upload(self) -> None:
        for path in (self._model.path, self._model.path.with_name(f"{self._model.path.name}.data")):
            if path.exists():
                self._site.upload(path, f"{self._name}/{path.name}")

    def _manifest(self) -> Document:
        spec = {
            "model": {"storageUri": f"store://{self._name}/{self._model.path.name}"},
            "slo": {"latency": _SLO["latency"]},
            "devicePool": _POOL,
        }
        metadata = {"name": self._name, "namespace": NAMESPACE}
        return {"apiVersion": _API, "kind": "InferenceService", "metadata": metadata, "spec": spec}

    def _wait_measured(self) -> bool:
        """Waits for the plan; gives samples to a file that refuses other inputs, and tells so."""
        ends = ("Measured", "InputsRefused")
        self._site.wait("measured", lambda: self._reason("Profiled") in ends, _MEASURED, self._unmet)
        if self._reason("Profiled") == "Measured":
            return False
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / SAMPLES
            save_samples(file, measured_feeds(self._model.inputs, Truth(self._model.path).dtypes)[-1])
            self._site.upload(file, f"{self._name}/{SAMPLES}")
        self._patch({"model": {"samples": {"storageUri": f"store://{self._name}/{SAMPLES}"}}})
        self._site.wait("measured", lambda: self._reason("Profiled") == "Measured", _MEASURED, self._unmet)
        return True

    def _mode(self, mode: str, rows: list[dict[str, Any]]) -> None:
        """Measures every route of a mode's table, with the median as the percentile of the plan."""
        self._patch({"mode": mode, "slo": _SLO})
        self._site.wait(f"{self._name} in {mode}", lambda: self._in_use(mode), _LOADED, self._unmet)
        routes = self._get("placement", f"{self._name}.{_NODE}")["spec"]["routes"]
        link = self._site.bed.link(_NODE)
        for number, route in enumerate(routes):
            least = float(parse_quantity(routes[number - 1]["minBandwidth"])) if number else RATE / _STEP
            link.set_rate(_STEP * least)
            rows += [{"mode": mode, **row} for row in self._route(route["name"])]
        link.set_rate(RATE)

    def _route(self, route: str) -> list[dict[str, Any]]:
        placement = self._get("placement", f"{self._name}.{_NODE}")
        (planned,) = [each for each in placement["spec"]["routes"] if each["name"] == route]
        asked = self._ask(route, ROUNDS, self._statistics(planned))
        plan = Planned(
            self._get("inferenceservice", self._name), self._get("modelprofile", self._name), placement
        )
        rows = []
        for each in asked:
            row = compared(each["rounds"], partial(plan.latency, route, each["shape"]))
            rows.append(
                {
                    "model": self._name,
                    "route": route,
                    "shape": each["shape"],
                    "wrong": each["wrong"],
                    "responses": each["routes"],
                    **row,
                }
            )
            self._site.say(f"{self._name}: {json.dumps(rows[-1])}")
        return rows

    def _ask(self, route: str, rounds: int = 0, statistics: str = "") -> list[dict[str, Any]]:
        (host,) = {text.partition("=")[2] for text in self._site.hosts([self._name], _NODE)}
        argv = [*self._site.bed.in_node(_NODE), sys.executable, "-m", "benchmarks.models.asking"]
        argv += [self._model.name, host, self._name, "--route", route, "--rounds", str(rounds)]
        argv += ["--statistics", statistics]
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, cwd=self._site.root, check=True)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def _statistics(self, route: Document) -> str:
        """Returns the URL of Triton's statistics of a route's tail; empty without one.

        The client does not use the DNS of the cluster.
        """
        last = route["stages"][-1]
        if last["runtime"] != "Triton":
            return ""
        address = urlsplit(last["address"])
        name, namespace, *_ = (address.hostname or "").split(".")
        host = self._site.get("service", name, "-n", namespace)["spec"]["clusterIP"]
        return f"{address.scheme}://{host}:{address.port}/v2/models/{last['model']}/stats"

    def _in_use(self, mode: str) -> bool:
        placement = self._get("placement", f"{self._name}.{_NODE}")
        status, spec = placement.get("status", {}), placement["spec"]
        return bool(
            spec.get("mode", "Auto") == mode
            and spec["slo"].get("percentile") == _SLO["percentile"]
            and status.get("loaded")
            and status.get("observedGeneration") == placement["metadata"]["generation"]
        )

    def _reason(self, kind: str) -> str:
        conditions = self._get("inferenceservice", self._name).get("status", {}).get("conditions", [])
        return next((str(each["reason"]) for each in conditions if each["type"] == kind), "")

    def _unmet(self) -> str:
        return self._site.unmet(self._name)

    def _get(self, kind: str, name: str) -> Document:
        return self._site.get(kind, name, "-n", NAMESPACE)

    def _patch(self, spec: Document) -> None:
        patch = json.dumps({"spec": spec})
        self._kubectl("patch", "inferenceservice", self._name, "-n", NAMESPACE, "--type=merge", "-p", patch)

    def _kubectl(self, *argv: str) -> None:
        self._site.bed.kubectl(*argv)
