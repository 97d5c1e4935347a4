"""A model with two branches, from the file through the store's metadata and layers to slices that are served.

The operator finds a cut that the store does not list, and the store cuts the model there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edge_operator.pool import manifests
from edge_operator.pool.branches import with_branch_cuts
from edge_operator.pool.pieces import pieces
from edge_operator.store_answers import DeviceProfile, LayerGraph, ModelCard
from edge_planning import EntryProblem, Plan, Slo, plan_entry
from edge_runtime.errors import UnknownTensor
from edge_runtime.slicing import Graph
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.catalogue import Catalogue
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.layer_graphs import layer_graph
from edge_runtime.store.reachable import reachable
from networks import info, model_of

EXITS = [{"name": "final", "output": "logits", "accuracy": 0.9}]


def model() -> bytes:
    """image -> a1, a2, a3 (narrow at the end) and -> b1 (narrow), b2, b3 (heavy); the layers alternate."""
    rng = np.random.default_rng(3)

    def weights(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(rng.normal(0, 0.05, shape).astype(np.float32), name)

    constants = [
        weights("wa1", 256, 2048),
        weights("wa2", 2048, 2048),
        weights("wa3", 2048, 16),
        weights("wb1", 256, 32),
        weights("wb2", 32, 40000),
        weights("wb3", 40000, 512),
        weights("w", 528, 10),
    ]
    nodes = [
        helper.make_node("MatMul", [start, f"w{end}"], [end])
        for start, end in [
            ("image", "a1"), ("image", "b1"), ("a1", "a2"), ("b1", "b2"), ("a2", "a3"), ("b2", "b3"),
        ]
    ]  # fmt: skip
    nodes += [
        helper.make_node("Concat", ["a3", "b3"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "w"], ["logits"]),
    ]
    return model_of(nodes, [info("image", "N", 256)], [info("logits", "N", 10)], constants, EXITS)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "store", 1 << 30)


@pytest.fixture
def catalogue(blobs: Blobs, tmp_path: Path) -> Iterator[Catalogue]:
    made = Catalogue(blobs, reachable(blobs.root, [tmp_path / "shared"], []))
    yield made
    made.close()


def profile(card: ModelCard, graph: LayerGraph, device_class: str, flops_per_second: float) -> DeviceProfile:
    """Segments that take as long as their FLOPs need."""
    makers = {name: layer for layer in graph.layers for name in layer.outputs}

    def behind(names: tuple[str, ...]) -> set[str]:
        found: set[str] = set()
        waiting = [name for name in names if name in makers]
        while waiting:
            layer = makers[waiting.pop()]
            if layer.name not in found:
                found.add(layer.name)
                waiting += [name for name in layer.inputs if name in makers]
        return found

    flops = {layer.name: layer.flops for layer in graph.layers}
    exit_ = card.exits[0]
    ends = [*(cut.names for cut in exit_.cuts), exit_.outputs]
    names = [*(cut.tensor for cut in exit_.cuts), exit_.end]
    totals = [sum(flops[name] for name in behind(tensors)) / flops_per_second for tensors in ends]
    segments = [
        {"from": a, "to": b, "meanSeconds": y - x, "p95Seconds": y - x}
        for a, b, x, y in zip(names, names[1:], totals, totals[1:], strict=False)
    ]
    whole = {"exit": "final", "output": "logits", "meanSeconds": totals[-1], "p95Seconds": totals[-1]}
    return DeviceProfile.model_validate(
        {
            "model": card.digest,
            "deviceClass": device_class,
            "node": "n",
            "segments": segments,
            "exits": [whole],
        }
    )


def test_a_cut_that_the_store_does_not_list_is_planned_and_its_slices_give_the_models_result(
    blobs: Blobs, catalogue: Catalogue, tmp_path: Path
) -> None:
    data = model()
    path = tmp_path / "shared" / "branches.onnx"
    path.parent.mkdir()
    path.write_bytes(data)
    holdings = Holdings(blobs)
    card = ModelCard.model_validate(catalogue.add_model({"storageUri": f"file://{path}"}, holdings))
    graph = LayerGraph.model_validate(catalogue.layers(card.digest, holdings))
    costs = {"camera": profile(card, graph, "camera", 2e8), "cloud": profile(card, graph, "cloud", 1e12)}
    found, split = with_branch_cuts(card, costs, graph, [("camera", "cloud")])
    problem = EntryProblem(
        manifests.planned_model("branches", found),
        manifests.class_profile(split["camera"]),
        manifests.class_profile(split["cloud"]),
        0.001,
        Slo(0.12),
    )
    plan = plan_entry(problem)
    assert isinstance(plan, Plan)
    listed = {cut.tensor for cut in card.exits[0].cuts}
    route = next(route for route in plan.table.routes if route.cut not in (None, *listed))
    assert route.cut == "a3+b1"
    made = pieces(found, route)
    image = np.random.default_rng(1).normal(size=(3, 256)).astype(np.float32)
    values = {"image": image}
    for key in made.keys:
        slice_ = catalogue.add_slice(
            {"model": key.model, "inputs": list(key.inputs), "outputs": list(key.outputs)}, holdings
        )
        session = onnxruntime.InferenceSession(blobs.read_blob(slice_["digest"]))
        names = [output.name for output in session.get_outputs()]
        values = dict(zip(names, session.run(names, values), strict=True))
    whole = onnxruntime.InferenceSession(data).run(["logits"], {"image": image})[0]
    np.testing.assert_allclose(values["logits"], whole, rtol=1e-3, atol=1e-5)


def test_the_bytes_of_a_tensor_are_those_of_the_store() -> None:
    tensors = {each["name"]: each["bytes"] for each in layer_graph(Graph(model()))["tensors"]}
    assert (tensors["image"], tensors["a3"], tensors["b1"]) == (1024, 64, 128)


def test_a_layer_has_the_input_whose_sizes_it_needs_since_a_slice_needs_that_tensor() -> None:
    weights = [
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in {"w1": (8, 6), "row": (1, 6)}.items()
    ]
    weights += [numpy_helper.from_array(np.array([value], np.int64), f"i{value}") for value in (0, 1, 6)]
    nodes = [
        helper.make_node("MatMul", ["image", "w1"], ["hidden"]),
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Slice", ["shape", "i0", "i1"], ["rows"]),
        helper.make_node("Concat", ["rows", "i6"], ["size"], axis=0),
        helper.make_node("Expand", ["row", "size"], ["wide"]),
        helper.make_node("Add", ["hidden", "wide"], ["logits"]),
    ]
    data = model_of(nodes, [info("image", "N", 8)], [info("logits", "N", 6)], weights, EXITS)
    graph = Graph(data)
    last = next(layer for layer in layer_graph(graph)["layers"] if layer["outputs"] == ["logits"])
    assert set(last["inputs"]) == {"hidden", "image"}
    with pytest.raises(UnknownTensor, match="do not separate"):
        graph.slice(["hidden"], ["logits"])
