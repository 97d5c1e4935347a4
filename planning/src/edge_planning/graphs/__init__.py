"""Models as graphs of layers, with the cost of each layer and the possible cuts.

graphs.onnx_reading, which needs onnx, reads them from files; the rest is plain values.
"""

from edge_planning.graphs.cuts import chain_cuts, require_cut, separates
from edge_planning.graphs.layer_listing import layer_table
from edge_planning.graphs.slices import layers_between, peak_memory, slice_layers
from edge_planning.graphs.values import Graph, Layer, Tensor

__all__ = [
    "Graph",
    "Layer",
    "Tensor",
    "chain_cuts",
    "layer_table",
    "layers_between",
    "peak_memory",
    "require_cut",
    "separates",
    "slice_layers",
]
