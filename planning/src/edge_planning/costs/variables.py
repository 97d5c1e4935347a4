"""What a layer's latency is regressed on: Edgent's independent variables by kind of layer.

Edgent (Li, Zhou, Chen, MECOMM 2018), Table 1. The table is restated from general knowledge of the paper, and
sizes are taken to be counts of elements and not bytes: both are assumptions. graphs.variables fills them in.
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
"""By family of layers. input_maps: feature maps that come in; filter_work: (filter size / stride)^2 times the
number of filters; input, output: elements that come in and go out."""
OTHERS = ("input", "output")
"""What a family is regressed on that Edgent does not have."""

WORK = ("flops", "parameters", "output")
"""What a fitted line may be made on instead: operations, bytes of weights, elements that go out. Edgent's
variables do not know how large a convolution's maps are, so that they hold within one network only."""

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
    """The name under which kinds of layers share a regression: `maxpool` is a `pool`, `matmul` a `gemm`."""
    return _FAMILIES.get(kind, kind)


def variables_of(layer: Layer) -> Mapping[str, float]:
    """All that a line for this layer may be made on: what the graph says of it, FLOPs and weights (bytes)."""
    return {**layer.variables, "flops": layer.flops, "parameters": float(layer.parameters)}
