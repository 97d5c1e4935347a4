"""What a layer's latency is regressed on: Edgent's independent variables by kind of layer.

Edgent (Li, Zhou, Chen, MECOMM 2018), Table 1. The table is restated from general knowledge of the paper, and
sizes are taken to be counts of elements and not bytes: both are assumptions.
"""

from collections.abc import Mapping

from edge_planning.graphs.values import Graph, Layer

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

_FAMILIES: Mapping[str, str] = {
    "convolution": "conv",
    "maxpool": "pool",
    "averagepool": "pool",
    "globalaveragepool": "pool",
    "globalmaxpool": "pool",
    "matmul": "gemm",
}


def family(kind: str) -> str:
    """The name under which kinds of layers share a regression: `maxpool` is a `pool`, `matmul` a `gemm`."""
    return _FAMILIES.get(kind, kind)


def variables_of(layer: Layer, graph: Graph) -> Mapping[str, float]:
    """The variables of a layer's family; those that the layer does not carry follow from its tensors.

    A family that Edgent does not have gets `input` and `output`.
    """
    names = VARIABLES.get(family(layer.kind), ("input", "output"))
    if all(name in layer.variables for name in names):
        return {name: layer.variables[name] for name in names}
    if family(layer.kind) == "conv":
        return _of_convolution(layer, graph)
    return {name: float(_elements(graph, getattr(layer, f"{name}s"))) for name in names}


def _elements(graph: Graph, names: tuple[str, ...]) -> int:
    return sum(graph.tensors[name].elements for name in names)


def _of_convolution(layer: Layer, graph: Graph) -> Mapping[str, float]:
    """Filter size and stride from the work: 2 * size^2 * maps * filters operations for each output pixel."""
    source, target = graph.tensors[layer.inputs[0]], graph.tensors[layer.outputs[0]]
    maps, filters = source.shape[1], target.shape[1]
    area = layer.flops / (2.0 * maps * max(target.elements, 1))
    stride = (source.elements / maps) / max(target.elements / filters, 1)
    return {"input_maps": float(maps), "filter_work": area / stride * filters}
