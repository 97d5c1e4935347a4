"""Effect of codecs on the trained model of the example, which exists once the cluster is installed."""

from __future__ import annotations

import json

import numpy as np

from edge_runtime.codecs.contracts import names
from edge_runtime.slicing import Graph
from edge_runtime.store.codec_accuracies import measure_codecs
from trials import Trial


def test_the_trained_model_keeps_its_accuracy_with_every_codec(installed: Trial) -> None:
    graph = Graph(installed.trained.onnx.read_bytes())
    told = {p.key: p.value for p in graph.model.metadata_props}["edge.exits"]
    exits = {e["name"]: e["output"] for e in json.loads(told)}
    accuracies = {e["name"]: e["accuracy"] for e in json.loads(told)}
    with np.load(installed.trained.held_out) as held_out:
        images, labels = held_out["images"][:100].astype(np.float32) / 255, held_out["labels"][:100]
    last = list(exits)[-1]
    cuts = {last: [["pool1"], ["reduce2"]]}
    measured = measure_codecs(graph, {last: exits[last]}, {graph.inputs[0]: images}, labels, cuts=cuts)
    assert len(measured) == 2 * len(names())
    for m in measured:
        assert m.agreement >= {"fp32": 1.0, "fp16": 0.99}.get(m.codec, 0.97), m
        assert abs(m.accuracy - accuracies[last]) < 0.08, m
