"""The Open Inference Protocol v2 apart from any transport: bytes and JSON to values and back."""
