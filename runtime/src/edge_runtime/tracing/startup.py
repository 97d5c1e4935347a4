"""Starts OpenTelemetry if its environment variables request spans; otherwise it is not imported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.tracing.spans import Spans

_log = logging.getLogger(__name__)


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's variables request spans by OTLP over HTTP. Warns about unsupported values."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if not any(environment.get(name, "").strip() for name in names) or exporters == "none":
        return False
    if "otlp" not in exporters.split(","):
        _log.warning(
            "OTEL_TRACES_EXPORTER: %s is not supported, so no spans are exported: use otlp", exporters
        )
        return False
    both = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((found for name in both if (found := environment.get(name, "").strip())), "")
    if protocol not in ("", "http/protobuf"):
        _log.warning("OTEL_EXPORTER_OTLP_PROTOCOL: %s is not supported: using http/protobuf", protocol)
    return True


def start(service: str, environment: Mapping[str, str]) -> Spans | None:
    """Creates the spans if requested. Errors are logged and do not stop the service."""
    if not wanted(environment):
        return None
    try:
        from edge_runtime.tracing.spans import Spans
    except ImportError as error:
        _log.warning("no spans: %s; install edge-runtime[tracing]", error)
        return None
    return Spans.exporting(service, environment)
