"""Slices of ONNX models: the cuts of a graph, and the subgraph between any two."""

from edge_runtime.slicing.graphs import Cut, Graph
from edge_runtime.slicing.tensordata import digest_of

__all__ = ["Cut", "Graph", "digest_of"]
