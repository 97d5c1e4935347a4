"""W3C trace context, and spans for OpenTelemetry."""
