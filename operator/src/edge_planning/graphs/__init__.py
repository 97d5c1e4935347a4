"""Models as graphs of layers: what they cost, and where they can be cut."""

from edge_planning.graphs.values import Graph, Layer, Tensor

__all__ = ["Graph", "Layer", "Tensor"]
