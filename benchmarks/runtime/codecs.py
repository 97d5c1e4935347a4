"""Compares the codecs with other ways to quantize, by accuracy, bytes and time.

`.venv/bin/python -m benchmarks.runtime.codecs --model digits.onnx --samples heldout.npz` (what
examples/01-digits/train.py writes). Prints a table, then one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from edge_runtime.codecs.contracts import is_encoded, names
from edge_runtime.codecs.registry import CODECS
from edge_runtime.inference.sessions import Session
from edge_runtime.slicing import Graph
from edge_runtime.store.codec_accuracies import CodecAccuracy, measure_codecs
from edge_runtime.tensors import zeros

Array = npt.NDArray[Any]
Quantizer = Callable[[Array], Array]
_BATCH = 32
_LEVELS = 255


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help=".npz with images (uint8) and labels")
    arguments = parser.parse_args()
    graph = Graph(arguments.model.read_bytes())
    kept = np.load(arguments.samples)
    images, labels = kept["images"].astype(np.float32) / 255, kept["labels"]
    told = {p.key: p.value for p in graph.model.metadata_props}["edge.exits"]
    exits = {e["name"]: e["output"] for e in json.loads(told)}
    measured = measure_codecs(graph, exits, {graph.inputs[0]: images}, labels)
    for line in _table(measured):
        print(line)
    last = list(exits.values())[-1]
    result = {
        "samples": len(labels),
        "summary": _summary(measured),
        "codecs": [m.document() for m in measured],
        "int8_ranges": _accuracies(graph, last, images, labels),
        "seconds": {cut.tensor: _seconds(graph, cut.tensors) for cut in graph.cuts([last])},
    }
    for cut, shares in result["int8_ranges"].items():  # type: ignore[attr-defined]
        print(cut, shares)
    print("mean error:", _mean_errors(result["int8_ranges"], graph.inputs[0]))  # type: ignore[arg-type]
    for codec, said in result["summary"].items():  # type: ignore[attr-defined]
        print(codec, said)
    print(json.dumps(result))


def _summary(measured: tuple[CodecAccuracy, ...]) -> dict[str, dict[str, float]]:
    """Over all exits and cuts: how many change any result, the lowest agreement, the change of accuracy."""
    plain = {(m.exit, m.cut): m.accuracy for m in measured if m.codec == "fp32"}
    found = {}
    for codec in dict.fromkeys(m.codec for m in measured):
        own = [m for m in measured if m.codec == codec]
        changes = [m.accuracy - plain[m.exit, m.cut] for m in own]
        found[codec] = {
            "pairs": len(own),
            "pairs_with_another_answer": sum(m.agreement < 1 for m in own),
            "least_agreement": min(m.agreement for m in own),
            "least_change": min(changes),
            "greatest_change": max(changes),
        }
    return found


def _mean_errors(shares: dict[str, dict[str, float]], source: str) -> dict[str, float]:
    """By method, the mean over the cuts behind the input."""
    cuts = [said for cut, said in shares.items() if cut != source]
    keys = [key for key in cuts[0] if key.endswith("_error")]
    return {key: round(float(np.mean([said[key] for said in cuts])), 6) for key in keys}


def _table(measured: tuple[CodecAccuracy, ...]) -> list[str]:
    lines = [
        " | ".join(["exit", "cut", *names(), f"bytes {' / '.join(names())}"]),
        " | ".join(["---"] * (len(names()) + 3)),
    ]
    rows: dict[tuple[str, str], dict[str, CodecAccuracy]] = {}
    for m in measured:
        rows.setdefault((m.exit, "+".join(m.cut)), {})[m.codec] = m
    for (exit_, cut), by in rows.items():
        shares = [f"{by[c].accuracy:.4f} ({by[c].agreement:.3f})" if c in by else "" for c in names()]
        sizes = " / ".join(f"{by[c].bytes:,}" if c in by else "" for c in names())
        lines.append(" | ".join([exit_, cut, *shares, sizes]))
    return lines


def _accuracies(graph: Graph, output: str, images: Array, labels: Array) -> dict[str, dict[str, float]]:
    """Accuracy of the last exit on the second half of the samples, by cut and method to find the range.

    item: one range for each item (the codec). batch: one for a batch of 32, as DynamicQuantizeLinear.
    calibrated: one for all, the extremes of the samples' first half. calibrated_999: the same without the
    outermost thousandth on either side.
    """
    half = len(images) // 2
    found: dict[str, dict[str, float]] = {}
    for cut in graph.cuts([output]):
        name = cut.tensors[0]
        values = images if name == graph.inputs[0] else _run(graph, graph.inputs[0], name, images)
        known, asked = values[:half], values[half:]
        extremes = float(known.min()), float(known.max())
        inner = tuple(float(q) for q in np.quantile(known, (0.001, 0.999)))
        methods: dict[str, Quantizer] = {
            "item": lambda v: np.stack([_rounded(x, float(x.min()), float(x.max())) for x in v]),
            "batch": lambda v: np.concatenate(
                [
                    _rounded(b, float(b.min()), float(b.max()))
                    for b in np.array_split(v, range(_BATCH, len(v), _BATCH))
                ]
            ),
            "calibrated": lambda v, r=extremes: _rounded(v, *r),  # type: ignore[misc]
            "calibrated_999": lambda v, r=inner: _rounded(v, *r),  # type: ignore[misc]
        }
        plain = _run(graph, name, output, asked)
        found[cut.tensor] = {"fp32": float((plain.argmax(1) == labels[half:]).mean())}
        for method, quantize in methods.items():
            answers = _run(graph, name, output, quantize(asked))
            found[cut.tensor][method] = float((answers.argmax(1) == labels[half:]).mean())
            error = float(np.abs(answers - plain).mean() / np.ptp(plain))
            found[cut.tensor][f"{method}_error"] = round(error, 6)
    return found


def _rounded(values: Array, low: float, high: float) -> Array:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / _LEVELS or 1.0
    zero = round(-low / scale)
    steps = np.clip(np.rint(values / scale) + zero, 0, _LEVELS) - zero
    made: Array = (steps * scale).astype(np.float32)
    return made


def _run(graph: Graph, start: str, end: str, values: Array) -> Array:
    session = Session(graph.slice([start], [end]), *graph.contract([start], [end]))
    parts = [session.run({start: values[i : i + _BATCH]})[0] for i in range(0, len(values), _BATCH)]
    return np.concatenate(parts)


def _seconds(graph: Graph, cut: tuple[str, ...]) -> dict[str, float]:
    """Median seconds of encoding and decoding one item on one thread, and of one DynamicQuantizeLinear."""
    found = {}
    for codec in CODECS:
        if not any(is_encoded(graph.tensor(name), codec) for name in cut):
            continue
        encoder = Session(graph.slice(cut, cut, encode=codec), *graph.contract(cut, cut, encode=codec))
        decoder = Session(graph.slice(cut, cut, decode=codec), *graph.contract(cut, cut, decode=codec))
        found[f"{codec}_encode"], found[f"{codec}_decode"] = _median(encoder), _median(decoder)
    tensor = graph.tensor(cut[0])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *tensor.shape[1:]])
    outs = [
        helper.make_tensor_value_info("q", TensorProto.UINT8, ["N", *tensor.shape[1:]]),
        helper.make_tensor_value_info("s", TensorProto.FLOAT, []),
        helper.make_tensor_value_info("z", TensorProto.UINT8, []),
    ]
    made = helper.make_graph(
        [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])], "q", [x], outs
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    found["dynamic_quantize_linear"] = _median(Session(model.SerializeToString()))
    return found


def _median(session: Session, runs: int = 200) -> float:
    feeds = zeros(session.inputs)
    session.run(feeds)
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        session.run(feeds)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
