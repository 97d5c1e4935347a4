"""A model with two inputs, cut between two nodes: one input bypasses the cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ValueInfoProto, helper, numpy_helper

from edge_runtime.assignment import parse_placement
from edge_runtime.connections import Resolver
from edge_runtime.dataplane import Dataplane
from edge_runtime.metrics import Metrics
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.requests import InferenceRequest
from edge_runtime.routing.generations import Generations
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.slice_loading import SliceLoader
from edge_runtime.slicing import digest_of
from networks import info, model_of

IMAGE = {"name": "image", "datatype": "FP32", "shape": [-1, 4]}
MASK = {"name": "mask", "datatype": "FP32", "shape": [-1, 2]}
HIDDEN = {"name": "hidden", "datatype": "FP32", "shape": [-1, 2]}
LOGITS = {"name": "logits", "datatype": "FP32", "shape": [-1, 2]}
WEIGHTS = np.arange(8, dtype=np.float32).reshape(4, 2)


def _ends(*tensors: dict[str, Any]) -> list[ValueInfoProto]:
    return [info(t["name"], "N", *t["shape"][1:]) for t in tensors]


def _head() -> bytes:
    node = helper.make_node("MatMul", ["image", "w"], ["hidden"])
    return model_of([node], _ends(IMAGE), _ends(HIDDEN), [numpy_helper.from_array(WEIGHTS, "w")])


def _tail() -> bytes:
    node = helper.make_node("Mul", ["hidden", "mask"], ["logits"])
    return model_of([node], _ends(HIDDEN, MASK), _ends(LOGITS))


async def test_what_the_far_stage_reads_besides_the_cut_is_sent_with_it(
    serve: Callable[[bytes], Any], tmp_path: Path
) -> None:
    head, tail = _head(), _tail()
    far = serve(tail)
    slices = tmp_path / "slices"
    slices.mkdir()
    (slices / digest_of(head).removeprefix("sha256:")).write_bytes(head)
    placement = parse_placement(
        {
            "metadata": {"name": "m-a"},
            "spec": {
                "service": "m",
                "node": "a",
                "mode": "PartitionOnly",
                "model": {"digest": f"sha256:{0:064}", "inputs": [IMAGE, MASK], "outputs": [LOGITS]},
                "slo": {"latency": "2s"},
                "routes": [
                    {
                        "name": "final@hidden",
                        "exit": "final",
                        "cut": "hidden",
                        "accuracy": 0.9,
                        "minBandwidth": "0",
                        "predictedLatency": "1s",
                        "stages": [
                            {
                                "place": "a",
                                "runtime": "Edge",
                                "slice": {"digest": digest_of(head), "inputs": [IMAGE], "outputs": [HIDDEN]},
                            },
                            {
                                "place": "cloud",
                                "runtime": "Triton",
                                "address": f"http://127.0.0.1:{far.http}",
                                "model": "m",
                                "slice": {
                                    "digest": digest_of(tail),
                                    "inputs": [HIDDEN, MASK],
                                    "outputs": [LOGITS],
                                },
                            },
                        ],
                    }
                ],
            },
        }
    )
    resolver = Resolver()
    metrics, cache = Metrics("m"), SliceCache(slices, ModelStore("http://127.0.0.1:1", resolver))
    generations = Generations(metrics, NodeResources(SliceLoader(cache, None), resolver))
    assert await generations.use(placement), generations.message
    plane = Dataplane(generations, metrics)
    image = np.array([[1, 0, 0, 1], [0, 1, 0, 0]], np.float32)
    mask = np.array([[1, 10], [2, 0]], np.float32)
    inputs = {"image": image, "mask": mask}
    response = await plane.infer(InferenceRequest(inputs, ["logits"]))
    np.testing.assert_array_equal(response.outputs[0], (image @ WEIGHTS) * mask)
    assert response.parameters["cut"] == "hidden"
    assert response.parameters["deadline_met"] is True
    late = await plane.infer(InferenceRequest(inputs, ["logits"], within=1e-9))
    assert late.parameters["deadline_met"] is False
    generations.close()
    await generations.resources.close()
