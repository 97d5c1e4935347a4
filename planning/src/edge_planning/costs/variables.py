"""The independent variables of a layer's latency regression, by kind of layer, as in Edgent.

Edgent (Li, Zhou, Chen, MECOMM 2018), Table 1. The table is restated from general knowledge of the paper, with
sizes as counts of elements, not bytes: both are assumptions. graphs.assembling computes the values.
"""

from collections.abc import Mapping

from edge_planning.graphs.values import Layer

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "conv": ("input_maps", "filter_work"),
    "relu": ("input",),
    "pool": ("input", "output"),
    "lrn": ("input",),
    "dropout": ("input",),
    "gemm": ("input", "output"),
}
"""By family of layers. input_maps: input feature maps; filter_work: (filter size / stride)^2 times the number
of filters; input, output: elements of inputs and outputs."""
OTHERS = ("input", "output")
"""The variables of families that Edgent does not have."""

WORK = ("flops", "parameters", "output")
"""Alternative variables of a fit: operations, bytes of weights, output elements. Edgent's variables do not
include the size of a convolution's maps, so they are valid only within one model."""

_FAMILIES: Mapping[str, str] = {
    "averagepool": "pool",
    "globalaveragepool": "pool",
    "globalmaxpool": "pool",
    "maxpool": "pool",
    "clip": "relu",
    "leakyrelu": "relu",
    "prelu": "relu",
    "matmul": "gemm",
}


def family(kind: str) -> str:
    """Returns the family whose regression a kind of layer uses: `maxpool` is a `pool`, `matmul` a `gemm`."""
    return _FAMILIES.get(kind, kind)


def variables_of(layer: Layer) -> Mapping[str, float]:
    """Returns all variables of a layer: those of the graph, FLOPs and bytes of weights."""
    return {**layer.variables, "flops": layer.flops, "parameters": float(layer.parameters)}
