"""Slices of ONNX models: which cuts there are, and the sub-graph between any two."""

from edge_runtime.slicing.graphs import Cut, Graph
from edge_runtime.slicing.tensordata import digest_of

__all__ = ["Cut", "Graph", "digest_of"]
