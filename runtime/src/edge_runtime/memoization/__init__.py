"""Requests that need no inference: inputs almost equal to the previous one, or whose result is cached."""
