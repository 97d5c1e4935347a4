"""The Open Inference Protocol v2 independent of transports: bytes and JSON to values and back."""
