"""A graph as a text table."""

from edge_planning.graphs.cuts import crossing_cuts
from edge_planning.graphs.values import Graph
from edge_planning.text_tables import text_table

HEADINGS = ("", "layer", "kind", "output", "MFLOP", "weights KiB", "output KiB")


def layer_table(graph: Graph, output: str | None = None) -> str:
    """Returns the layers as text, one line each, with their totals and the graph's warnings.

    A bar before a line marks a layer whose output tensor is a cut before `output` (by default the last output
    of the graph).
    """
    cuts = {names[0] for names in crossing_cuts(graph, output or graph.outputs[-1]) if len(names) == 1}
    rows = [
        (
            "|" if not cuts.isdisjoint(layer.outputs) else "",
            layer.name,
            layer.kind,
            ", ".join("x".join(map(str, graph.tensors[name].shape)) or "1" for name in layer.outputs),
            f"{layer.flops / 1e6:.2f}",
            f"{layer.parameters / 1024:.1f}",
            f"{layer.activations / 1024:.1f}",
        )
        for layer in graph.layers
    ]
    total = (
        "",
        f"{len(graph.layers)} layers",
        "",
        "",
        f"{sum(layer.flops for layer in graph.layers) / 1e6:.2f}",
        f"{sum(layer.parameters for layer in graph.layers) / 1024:.1f}",
        f"{sum(layer.activations for layer in graph.layers) / 1024:.1f}",
    )
    table = text_table([HEADINGS, *rows, total], right=(-3, -2, -1))
    return "\n".join([table, *(f"warning: {warning}" for warning in graph.warnings)])
