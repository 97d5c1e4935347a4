"""The Prometheus metrics. Label sets are bounded by the route table: a service has a few exits and routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edge_runtime.graph_analysis.properties import ProvenProperties
from edge_runtime.inference.memory import resident
from edge_runtime.inference.sessions import provider, provider_fallback
from edge_runtime.model_statistics import ModelStatistics

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
_WAITS = (0.0005, 0.001, *_SECONDS)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class ProcessMetrics:
    """The metrics of a process, whatever the number of its services.

    service: the one that the process serves alone; empty if it serves several. namespace: of its services;
    empty outside a cluster.
    """

    def __init__(
        self, service: str, registry: CollectorRegistry | None = None, *, namespace: str = ""
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self.namespace, self._service = namespace, service
        self._probes = Counter(
            "edge_probe_bytes",
            "Bytes sent by probes, including protocol overhead",
            ("service", "peer"),
            registry=self.registry,
        )
        self._forwarded = Counter(
            "edge_forwarded_requests",
            "Requests that were forwarded to another node, by outcome",
            ("service", "outcome"),
            registry=self.registry,
        )
        self._refused_peers = Counter(
            "edge_refused_peers",
            "Connections over HTTP and calls over gRPC that the ports for other nodes refused because the "
            "certificate is not that of the namespace's runtimes",
            ("service", "transport"),
            registry=self.registry,
        )
        self._failed_handshakes = Counter(
            "edge_failed_handshakes",
            "TLS handshakes of clients over HTTP that failed, by whether a certificate was the cause; gRPC "
            "does not report its handshakes",
            ("service", "cause"),
            registry=self.registry,
        )
        Gauge(
            "edge_resident_bytes",
            "Resident memory of the process in bytes",
            ("service",),
            registry=self.registry,
        ).labels(service).set_function(resident)
        Gauge(
            "edge_execution_provider",
            "1, with the execution provider of all inferences, and whether it stands in for one that this "
            "image does not have",
            ("service", "provider", "fallback"),
            registry=self.registry,
        ).labels(service, provider().label, str(provider_fallback()).lower()).set(1)

    def running(self, seconds: Callable[[], float]) -> None:
        """Registers the inference thread; `seconds` returns how long its current run has lasted."""
        Gauge(
            "edge_inference_running_seconds",
            "Seconds that the current run on the inference thread has lasted; 0 between runs",
            ("service",),
            registry=self.registry,
        ).labels(self._service).set_function(seconds)

    def slowdown(self, ratio: Callable[[], float]) -> None:
        """Registers the ratio of the times of runs to those at the warm-up."""
        Gauge(
            "edge_stage_slowdown_ratio",
            "Recent time of runs at this node over that at their warm-up",
            ("service",),
            registry=self.registry,
        ).labels(self._service).set_function(ratio)

    def spare(self, part: Callable[[], float]) -> None:
        """Registers the part of a processor's time that requests beyond the planned rates get."""
        Gauge(
            "edge_spare_time_ratio",
            "Part of a processor's time that requests beyond the planned rates get",
            ("service",),
            registry=self.registry,
        ).labels(self._service).set_function(part)

    def probe(self, peer: str, size: int) -> None:
        """Records the bytes of a probe."""
        self._probes.labels(self._service, peer).inc(size)

    def forwarded(self, outcome: str) -> None:
        """Counts a request that was forwarded to another node."""
        self._forwarded.labels(self._service, outcome).inc()

    def refused_peer(self, transport: str) -> None:
        """Counts a client that was refused at the ports for other nodes."""
        self._refused_peers.labels(self._service, transport).inc()

    def failed_handshake(self, cause: str) -> None:
        """Counts a TLS handshake of a client that failed."""
        self._failed_handshakes.labels(self._service, cause).inc()

    def certificate(self, expires: Callable[[], float]) -> None:
        """Registers a certificate; `expires` returns its expiry in Unix time."""
        Gauge(
            "edge_certificate_expiry_timestamp_seconds",
            "Unix time at which the certificate in use expires",
            ("service",),
            registry=self.registry,
        ).labels(self._service).set_function(expires)


class PlannedRoute(Protocol):
    """What the plan says of a route: bit/s, seconds, joules."""

    @property
    def name(self) -> str: ...
    @property
    def exit(self) -> str: ...
    @property
    def accuracy(self) -> float: ...
    @property
    def min_bandwidth(self) -> int: ...
    @property
    def predicted_latency(self) -> float: ...
    @property
    def predicted_bytes(self) -> int | None: ...
    @property
    def predicted_energy(self) -> float | None: ...
    @property
    def crosses(self) -> bool: ...


def _figures(route: PlannedRoute) -> tuple[float | None, ...]:
    """Returns the values of the gauges of a route, in their order."""
    sent = route.predicted_bytes if route.crosses else 0
    return (
        route.min_bandwidth,
        route.predicted_latency,
        route.accuracy,
        sent,
        route.predicted_energy,
    )


class Metrics:
    """The metrics of one service at one node. Children are looked up once, because a look-up costs each
    request time.
    """

    def __init__(self, service: str, process: ProcessMetrics | None = None) -> None:
        """process: those of a process with several services; by default its own, in the same registry."""
        self.registry = CollectorRegistry()
        self.process = process or ProcessMetrics(service, self.registry)
        self.service, self.statistics = service, ModelStatistics()
        self._request = Histogram(
            "edge_request_duration_seconds",
            "Time from the arrival of a request to its response, in seconds",
            ("service", "exit", "route", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        slo = Counter(
            "edge_slo_requests",
            "Requests by outcome and by whether the SLO was met",
            ("namespace", "service", "met"),
            registry=self.registry,
        )
        own = (self.process.namespace, service)
        self._met = {met: slo.labels(*own, str(met).lower()) for met in (True, False)}
        self._stage = Histogram(
            "edge_stage_duration_seconds",
            "Time of a stage at this node, in seconds",
            ("service", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._hop = Histogram(
            "edge_hop_duration_seconds",
            "Time of a hop in seconds: transfer, remote compute and response",
            ("service", "route", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._link = [
            Gauge(name, text, ("service", "peer"), registry=self.registry)
            for name, text in (
                ("edge_link_bandwidth_bits", "Estimated bandwidth in bit/s; 0 if the link is down"),
                (
                    "edge_link_bandwidth_low_bits",
                    "Bandwidth that 80 % of transfers exceed, in bit/s; 0 if the link is down",
                ),
                ("edge_link_measured_timestamp_seconds", "Unix time of the last measurement of the link"),
            )
        ]
        self._active = Gauge(
            "edge_active_route",
            "1 for the active route, 0 for others",
            ("service", "route", "exit"),
            registry=self.registry,
        )
        self._planned = [
            Gauge(name, text, ("service", "route", "exit"), registry=self.registry)
            for name, text in (
                (
                    "edge_route_min_bandwidth_bits",
                    "Bandwidth from which a route of the table is used, in bit/s",
                ),
                ("edge_route_predicted_latency_seconds", "Latency that the plan predicts for a route"),
                ("edge_route_accuracy_ratio", "Accuracy of a route of the table"),
                (
                    "edge_route_predicted_sent_bytes",
                    "Bytes of a request by a route that cross the uplink, as planned",
                ),
                (
                    "edge_route_predicted_energy_joules",
                    "Joules of a request by a route at this node, as planned; none if its power is unknown",
                ),
            )
        ]
        self._residual = Gauge(
            "edge_compute_residual_ratio",
            "Median of measured over predicted compute time at this node, of the last 500 runs of an exit",
            ("service", "exit"),
            registry=self.registry,
        )
        self._switches = Counter(
            "edge_route_switches", "Changes of the active route", ("service",), registry=self.registry
        ).labels(service)
        self._fallbacks = Counter(
            "edge_deadline_fallbacks",
            "Responses of the local route in place of a failed or late hop",
            ("service", "reason"),
            registry=self.registry,
        )
        for reason in ("late", "failed", "busy"):
            self._fallbacks.labels(service, reason)
        self._compared = Counter(
            "edge_shadow_requests",
            "Requests that the candidate of a roll-out computed, too, by how its outputs compare",
            ("service", "result"),
            registry=self.registry,
        )
        self._sessions = Gauge(
            "edge_sessions_bytes",
            "Bytes of the loaded slices, each counted once: about the memory of their sessions",
            ("service",),
            registry=self.registry,
        ).labels(service)
        self._idle = Gauge(
            "edge_idle",
            "1 while the sessions are let go, since no request came for spec.scaling.idleAfter; else 0",
            ("service",),
            registry=self.registry,
        ).labels(service)
        self._loads = Histogram(
            "edge_first_request_load_seconds",
            "Time that the first request after such a pause waited for its session, in seconds",
            ("service",),
            buckets=(*_SECONDS, 10.0, 30.0),
            registry=self.registry,
        ).labels(service)
        self._load = Gauge(
            "edge_session_load_seconds",
            "Time in seconds that loading the session took for the last such request: reading the slice, "
            "opening it, and warming it up",
            ("service",),
            registry=self.registry,
        ).labels(service)
        joins = Gauge(
            "edge_sessions",
            "Loaded slices by whether requests can be batched",
            ("service", "requests"),
            registry=self.registry,
        )
        self._joins = {
            alone: joins.labels(service, name) for alone, name in ((True, "alone"), (False, "together"))
        }
        self._batch = Histogram(
            "edge_batch_size",
            "Requests in a batch on the inference thread",
            ("service",),
            buckets=_SIZES,
            registry=self.registry,
        ).labels(service)
        self._queue = Histogram(
            "edge_queue_duration_seconds",
            "Time that an inference waited for the thread, in seconds",
            ("service",),
            buckets=_WAITS,
            registry=self.registry,
        ).labels(service)
        self._children: dict[tuple[str, ...], Histogram] = {}

    def request(self, exit_: str, route: str, outcome: str, seconds: float, *, met: bool) -> None:
        """Counts a completed or failed request."""
        self._child(self._request, "request", exit_, route, outcome).observe(seconds)
        self._met[met].inc()

    def stage(self, route: str, seconds: float) -> None:
        """Records a run of a local stage."""
        self._child(self._stage, "stage", route).observe(seconds)

    def hop(self, route: str, outcome: str, seconds: float) -> None:
        """Records a hop."""
        self._child(self._hop, "hop", route, outcome).observe(seconds)

    def batch(self, waits: Sequence[float]) -> None:
        """Records a batch on the inference thread, with the wait of each of its requests in seconds."""
        self._batch.observe(len(waits))
        for seconds in waits:
            self._queue.observe(seconds)

    def sessions(self, size: int) -> None:
        """Sets the bytes of the loaded slices."""
        self._sessions.set(size)

    def let_go(self) -> None:
        """Records that no slice is loaded, because no request came."""
        self._idle.set(1)
        self.sessions(0)
        self.joins(())

    def in_use(self) -> None:
        """Records that slices are loaded."""
        self._idle.set(0)

    def loaded_again(self, seconds: float, took: float) -> None:
        """Records the seconds that a request waited for a session, and those that loading it took."""
        self._loads.observe(seconds)
        self._load.set(took)

    def joins(self, proven: Iterable[ProvenProperties]) -> None:
        """Counts the loaded slices by their proven properties."""
        found = [bool(found.alone) for found in proven]
        for alone, gauge in self._joins.items():
            gauge.set(found.count(alone))

    def link(self, peer: str, bandwidth: float, low: float, measured: float | None) -> None:
        """Sets the estimates of a link in bit/s, and the Unix time of its last measurement."""
        for gauge, value in zip(self._link, (bandwidth, low, measured), strict=True):
            if value is not None:
                gauge.labels(self.service, peer).set(value)

    def active(self, route: str, exit_: str, *, switched: bool) -> None:
        """Sets the active route."""
        self._active.clear()
        self._active.labels(self.service, route, exit_).set(1)
        if switched:
            self._switches.inc()

    def table(self, routes: Iterable[PlannedRoute]) -> None:
        """Sets what the plan says of the routes of a new table."""
        for gauge in self._planned:
            gauge.clear()
        for route in routes:
            for gauge, value in zip(self._planned, _figures(route), strict=True):
                if value is not None:
                    gauge.labels(self.service, route.name, route.exit).set(value)

    def residuals(self, reported: Iterable[Mapping[str, Any]]) -> None:
        """Sets the medians of `Residuals.report`."""
        self._residual.clear()
        for found in reported:
            ratios = found["ratios"]
            self._residual.labels(self.service, found["exit"]).set(ratios[(len(ratios) - 1) // 2])

    def fallback(self, reason: str) -> None:
        """Counts a local response in place of a hop."""
        self._fallbacks.labels(self.service, reason).inc()

    def compared(self, result: str) -> None:
        """Counts a request that the candidate computed, too: agree, differ or failed."""
        self._compared.labels(self.service, result).inc()

    def exposition(self) -> bytes:
        """The text format that Prometheus reads."""
        return generate_latest(self.registry)

    def _child(self, family: Histogram, kind: str, *labels: str) -> Histogram:
        key = (kind, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(self.service, *labels)
        return child


class _Joined(Collector):
    """Collects several registries, each family once with the series of all."""

    def __init__(self, registries: Iterable[CollectorRegistry]) -> None:
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for registry in self._registries:
            for family in registry.collect():
                families.setdefault(family.name, family)
                if families[family.name] is not family:
                    families[family.name].samples.extend(family.samples)
        yield from families.values()


def joint_exposition(registries: Iterable[CollectorRegistry]) -> bytes:
    """Returns the series of several registries in the text format that Prometheus reads."""
    joined = CollectorRegistry(auto_describe=False)
    joined.register(_Joined(registries))
    return generate_latest(joined)
