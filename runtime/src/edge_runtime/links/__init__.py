"""Measures the link to a peer."""
