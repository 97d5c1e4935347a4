"""Sequences of requests of which the entry node keeps the state between one request and the next."""
