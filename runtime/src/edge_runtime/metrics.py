"""What Prometheus sees. Label sets are bounded by the route table: a service has a few exits and routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edge_runtime.graph_analysis.properties import ProvenProperties
from edge_runtime.inference.memory import resident

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
_WAITS = (0.0005, 0.001, *_SECONDS)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one service on one node; children are looked up once, since a request pays for each
    look-up.
    """

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self._service = service
        self._request = Histogram(
            "edge_request_duration_seconds",
            "Time from a request's arrival to its answer",
            ("service", "exit", "route", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        slo = Counter(
            "edge_slo_requests",
            "Requests by whether the SLO was met",
            ("service", "met"),
            registry=self.registry,
        )
        self._met = {met: slo.labels(service, str(met).lower()) for met in (True, False)}
        self._stage = Histogram(
            "edge_stage_duration_seconds",
            "Time of a stage at this node",
            ("service", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._hop = Histogram(
            "edge_hop_duration_seconds",
            "Time of a hop: transfer, compute there, answer",
            ("service", "route", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._link = [
            Gauge(name, text, ("service", "peer"), registry=self.registry)
            for name, text in (
                ("edge_link_bandwidth_bits", "Estimated bandwidth, bit/s; 0 when down"),
                ("edge_link_bandwidth_low_bits", "What four transfers in five exceed, bit/s; 0 when down"),
                ("edge_link_measured_timestamp_seconds", "When the link was measured last, Unix time"),
            )
        ]
        self._probes = Counter(
            "edge_probe_bytes",
            "Bytes of probes and of what goes with them",
            ("service", "peer"),
            registry=self.registry,
        )
        self._active = Gauge(
            "edge_active_route",
            "1 for the route in use",
            ("service", "route", "exit"),
            registry=self.registry,
        )
        self._switches = Counter(
            "edge_route_switches", "Changes of the route in use", ("service",), registry=self.registry
        ).labels(service)
        self._fallbacks = Counter(
            "edge_deadline_fallbacks",
            "Answers of the local route in place of a failed or late hop",
            ("service", "reason"),
            registry=self.registry,
        )
        self._sessions = Gauge(
            "edge_sessions_bytes",
            "Bytes of the slices that are loaded, each once: about what their sessions take",
            ("service",),
            registry=self.registry,
        ).labels(service)
        joins = Gauge(
            "edge_sessions",
            "Slices that are loaded, by whether requests may run together",
            ("service", "requests"),
            registry=self.registry,
        )
        self._joins = {
            alone: joins.labels(service, name) for alone, name in ((True, "alone"), (False, "together"))
        }
        Gauge("edge_resident_bytes", "Memory of the process", ("service",), registry=self.registry).labels(
            service
        ).set_function(resident)
        self._batch = Histogram(
            "edge_batch_size",
            "Requests in one run of those that are run on the thread",
            ("service",),
            buckets=_SIZES,
            registry=self.registry,
        ).labels(service)
        self._queue = Histogram(
            "edge_queue_duration_seconds",
            "Time for which an inference waited for the thread",
            ("service",),
            buckets=_WAITS,
            registry=self.registry,
        ).labels(service)
        self._children: dict[tuple[str, ...], Histogram] = {}

    def request(self, exit_: str, route: str, outcome: str, seconds: float, met: bool) -> None:
        """One answered or failed request."""
        self._child(self._request, "request", exit_, route, outcome).observe(seconds)
        self._met[met].inc()

    def stage(self, route: str, seconds: float) -> None:
        """One run of a local stage."""
        self._child(self._stage, "stage", route).observe(seconds)

    def hop(self, route: str, outcome: str, seconds: float) -> None:
        """One hop."""
        self._child(self._hop, "hop", route, outcome).observe(seconds)

    def batch(self, waits: Sequence[float]) -> None:
        """One run on the thread: for how long each request in it had waited."""
        self._batch.observe(len(waits))
        for seconds in waits:
            self._queue.observe(seconds)

    def running(self, seconds: Callable[[], float]) -> None:
        """There is a thread that runs inferences; `seconds` tells for how long it has been in one run."""
        Gauge(
            "edge_inference_running_seconds",
            "Seconds that the current run on the thread has lasted; 0 between runs",
            ("service",),
            registry=self.registry,
        ).labels(self._service).set_function(seconds)

    def sessions(self, size: int) -> None:
        """What is loaded from now on."""
        self._sessions.set(size)

    def joins(self, proven: Iterable[ProvenProperties]) -> None:
        """What is proven of all that is loaded from now on."""
        found = [bool(found.alone) for found in proven]
        for alone, gauge in self._joins.items():
            gauge.set(found.count(alone))

    def link(self, peer: str, bandwidth: float, low: float, measured: float | None) -> None:
        """The link as estimated now, in bit/s, and when (Unix time) it was measured."""
        for gauge, value in zip(self._link, (bandwidth, low, measured), strict=True):
            if value is not None:
                gauge.labels(self._service, peer).set(value)

    def probe(self, peer: str, size: int) -> None:
        """A probe that cost so many bytes."""
        self._probes.labels(self._service, peer).inc(size)

    def active(self, route: str, exit_: str, switched: bool) -> None:
        """The route in use from now on."""
        self._active.clear()
        self._active.labels(self._service, route, exit_).set(1)
        if switched:
            self._switches.inc()

    def fallback(self, reason: str) -> None:
        """The local route answered in place of a hop."""
        self._fallbacks.labels(self._service, reason).inc()

    def certificate(self, expires: Callable[[], float]) -> None:
        """There is a certificate; `expires` tells when it ends, in Unix time."""
        Gauge(
            "edge_certificate_expiry_timestamp_seconds",
            "Unix time at which the certificate in use ends",
            ("service",),
            registry=self.registry,
        ).labels(self._service).set_function(expires)

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def _child(self, family: Histogram, kind: str, *labels: str) -> Histogram:
        key = (kind, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(self._service, *labels)
        return child
