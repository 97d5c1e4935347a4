"""Where the time of requests goes, by the counters of the runtime and of Triton."""

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from prometheus_client.parser import text_string_to_metric_families

_WITHIN: Final = 30.0
_REQUEST, _STAGE, _HOP, _TRITON = "request", "stage", "hop", "triton"
_SUMS: Final = {
    "edge_request_duration_seconds": _REQUEST,
    "edge_stage_duration_seconds": _STAGE,
    "edge_hop_duration_seconds": _HOP,
}
_TRITON_PARTS: Final = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums since a process started.

    seconds, counts: by part: `request` from arrival to response at the entry node, `stage` the run there,
    `hop` from the first byte sent to the last one received, `triton` its waits and runs. bandwidth: the
    runtime's estimate in bit/s; 0 without a link.
    """

    seconds: Mapping[str, float]
    counts: Mapping[str, float]
    bandwidth: float

    @classmethod
    def of(cls, exposition: str, statistics: Mapping[str, Any] | None, service: str, route: str) -> Self:
        """Reads what the runtime exposes and Triton's statistics of the route's tail, if it has one."""
        seconds: dict[str, float] = {}
        counts: dict[str, float] = {}
        bandwidth = 0.0
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.labels.get("service") != service:
                    continue
                if sample.name == "edge_link_bandwidth_bits":
                    bandwidth = sample.value
                part = _SUMS.get(family.name)
                if part is None or sample.labels.get("route") != route:
                    continue
                if sample.name.endswith("_sum"):
                    seconds[part] = seconds.get(part, 0.0) + sample.value
                elif sample.name.endswith("_count"):
                    counts[part] = counts.get(part, 0.0) + sample.value
        if statistics is not None:
            found = statistics["model_stats"][0]["inference_stats"]
            seconds[_TRITON] = sum(int(found[part]["ns"]) for part in _TRITON_PARTS) / 1e9
            counts[_TRITON] = float(found["success"]["count"])
        return cls(seconds, counts, bandwidth)

    def since(self, before: Self) -> dict[str, float]:
        """Returns the mean seconds of each part between two readings; without parts that had no request."""
        found = {}
        for part, seconds in self.seconds.items():
            count = self.counts[part] - before.counts.get(part, 0.0)
            if count > 0:
                found[part] = (seconds - before.seconds.get(part, 0.0)) / count
        return found


def read(runtime: str, triton: str, service: str, route: str) -> Totals:
    """Reads the counters. runtime: URL of the metrics. triton: URL of a model's statistics, or empty."""
    with urllib.request.urlopen(runtime, timeout=_WITHIN) as response:
        exposition = response.read().decode()
    statistics = None
    if triton:
        with urllib.request.urlopen(triton, timeout=_WITHIN) as response:
            statistics = json.load(response)
    return Totals.of(exposition, statistics, service, route)
