"""Measures latency predictions for unmeasured networks: `python -m benchmarks.planner.costs`.

Every layer of real networks is measured on this machine (onnxruntime's profiler, one thread, no graph
optimization, so that layers are not fused). For each network, a device class is fitted to the others and
predicts it. The last line is a JSON object.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime

from benchmarks.graphs.catalogue import BUILDERS, build
from edge_planning.costs.classes import DeviceClass
from edge_planning.costs.estimates import layer_times, total
from edge_planning.costs.fitting import Sample, fit, fit_class
from edge_planning.costs.variables import OTHERS, VARIABLES, family, variables_of
from edge_planning.graphs import Graph
from edge_planning.graphs.onnx_reading import read_model

Measured = tuple[Graph, Mapping[str, float]]
"""A graph, and the seconds of its layers by name."""
RUNS = 20
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


def measure(progress: Callable[[str], None], *, quick: bool) -> dict[str, object]:
    """Predicted / measured seconds of each network left out, by what it is predicted with.

    fitted: the better of both sets of variables for each family; edgent: Edgent's variables only; flops: the
    rate of FLOPs alone. layer_error: the median of |measured / predicted - 1| over its layers, with `fitted`.
    """
    networks = {}
    for name in ("mobilenet_v2", "resnet50", "unet") if quick else tuple(BUILDERS):
        networks[name] = measured(name, 5 if quick else RUNS)
        progress(f"{name}: {len(networks[name][1])} layers in {sum(networks[name][1].values()) * 1e3:.1f} ms")
    ratios: dict[str, dict[str, float]] = {}
    for name, (graph, seconds) in networks.items():
        others = [sample for other in networks if other != name for sample in samples(*networks[other])]
        fitted = fit_class("others", others, source="this machine").device_class
        ratios[name] = {
            "fitted": ratio(graph, seconds, fitted),
            "edgent": ratio(graph, seconds, with_edgents_variables(fitted, others)),
            "flops": ratio(graph, seconds, DeviceClass("flops", {}, fitted.flops_per_second, "this machine")),
            "layer_error": layer_error(graph, seconds, fitted),
        }
    return {"cost_prediction": ratios, "cost_layers": sum(len(seconds) for _, seconds in networks.values())}


def measured(name: str, runs: int) -> Measured:
    """Median seconds of every layer of a network on this machine."""
    proto = build(name)
    model = read_model(proto, name=name)
    assert model.graph is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = f"{folder}/profile"
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        feed = {
            entry.name: random.random([size if isinstance(size, int) else 1 for size in entry.shape]).astype(
                TYPES[entry.type]
            )
            for entry in session.get_inputs()
        }
        for _ in range(runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times.setdefault(event["name"].removesuffix("_kernel_time"), []).append(event["dur"] * 1e-6)
    # The profiler counts whole microseconds; the first run warms up.
    known = {layer.name for layer in model.graph.layers}
    return model.graph, {
        layer: max(median(values[1:]), 0.5e-6) for layer, values in times.items() if layer in known
    }


def samples(graph: Graph, seconds: Mapping[str, float]) -> list[Sample]:
    """The measured layers of a network as samples for a fit."""
    return [
        Sample(layer.kind, variables_of(layer), seconds[layer.name])
        for layer in graph.layers
        if layer.name in seconds
    ]


def with_edgents_variables(fitted: DeviceClass, others: list[Sample]) -> DeviceClass:
    """The class with lines on Edgent's variables only."""
    lines = {}
    for kind in fitted.regressions:
        found = fit([s for s in others if family(s.kind) == kind], VARIABLES.get(kind, OTHERS))
        if found.regression:
            lines[kind] = found.regression
    return DeviceClass("edgent", lines, fitted.flops_per_second, fitted.source)


def ratio(graph: Graph, seconds: Mapping[str, float], device_class: DeviceClass) -> float:
    """Predicted by measured seconds of the whole network."""
    times = zip(graph.layers, layer_times(graph, device_class), strict=True)
    predicted = total(estimate for layer, estimate in times if layer.name in seconds)
    return round(predicted.seconds / sum(seconds.values()), 3)


def layer_error(graph: Graph, seconds: Mapping[str, float], device_class: DeviceClass) -> float:
    """The median relative error of its layers."""
    times = zip(graph.layers, layer_times(graph, device_class), strict=True)
    errors = [
        abs(seconds[layer.name] / estimate.seconds - 1)
        for layer, estimate in times
        if layer.name in seconds and estimate.seconds > 0
    ]
    return round(median(errors), 3)


def main() -> int:
    """Measures, and prints the figures."""
    parser = argparse.ArgumentParser(prog="costs", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three networks, few runs")
    quick = parser.parse_args().quick
    print(json.dumps(measure(lambda line: print(line, file=sys.stderr, flush=True), quick=quick)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
