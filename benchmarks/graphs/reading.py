"""Prints what the planner reads from real networks, and the time that it takes.

.venv/bin/python -m benchmarks.graphs.reading              a table, and one JSON object as the last line
.venv/bin/python -m benchmarks.graphs.reading --layers X   the layers of one network
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence

from benchmarks.graphs.catalogue import BUILDERS, build
from edge_planning.graphs import Graph
from edge_planning.graphs.cuts import chain_cuts
from edge_planning.graphs.layer_listing import layer_table
from edge_planning.graphs.onnx_reading import read_graph
from edge_planning.graphs.slices import peak_memory

RUNS = 5
PRODUCTS = ("conv", "convtranspose", "gemm", "matmul")
HEADINGS = (
    "model",
    "layers",
    "cuts",
    "GFLOP",
    "of which products (GMAC)",
    "parameters (M)",
    "peak MiB",
    "ms",
)


def measured(name: str) -> tuple[Graph, float]:
    """Returns the graph, and the median time to read it in seconds."""
    data = build(name).SerializeToString()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        graph = read_graph(data, name=name)
        times.append(time.perf_counter() - started)
    return graph, statistics.median(times)


def figures(name: str) -> dict[str, object]:
    """One network's line."""
    graph, seconds = measured(name)
    products = sum(layer.flops for layer in graph.layers if layer.kind in PRODUCTS)
    return dict(
        zip(
            HEADINGS,
            (
                name,
                len(graph.layers),
                len(chain_cuts(graph, graph.outputs[-1])),
                round(sum(layer.flops for layer in graph.layers) / 1e9, 2),
                round(products / 2e9, 2),
                round(sum(layer.parameters for layer in graph.layers) / 4e6, 2),
                round(peak_memory(graph, graph.layers, graph.outputs) / 2**20),
                round(seconds * 1e3),
            ),
            strict=True,
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table, or the layers of one network."""
    parser = argparse.ArgumentParser(prog="reading", description=__doc__)
    parser.add_argument("--layers", choices=sorted(BUILDERS), metavar="NETWORK", help="its layers instead")
    arguments = parser.parse_args(argv)
    if arguments.layers:
        print(layer_table(read_graph(build(arguments.layers), name=arguments.layers)))
        return 0
    rows = [figures(name) for name in BUILDERS]
    print(f"| {' | '.join(HEADINGS)} |")
    print(f"| {' | '.join('---' for _ in HEADINGS)} |")
    for row in rows:
        print(f"| {' | '.join(map(str, row.values()))} |")
    print(json.dumps({"graphs": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
