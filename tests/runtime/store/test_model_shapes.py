"""Models with open dimensions in the store: the shapes that are stated, and the bytes of cuts there."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import onnxruntime
import pytest
import pytest_asyncio
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.slicing import Graph
from edge_runtime.store.app import StoreApp
from edge_runtime.store.reachable import reachable

EXITS = [{"name": "final", "output": "y", "accuracy": 0.9}]
ADVICE = "inputs: [{name: x, shape: [1, 3, <H>, <W>]}]"


def detector(metadata: str | None = None) -> bytes:
    """Two convolutions that halve an image of any size, and a pooled answer."""
    random = np.random.default_rng(0)
    weights = {"w1": (8, 3, 3, 3), "w2": (16, 8, 3, 3), "w3": (16, 5)}
    halve: dict[str, Any] = {"pads": [1, 1, 1, 1], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], **halve),
        helper.make_node("MaxPool", ["c1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], **halve),
        helper.make_node("GlobalAveragePool", ["c2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(random.normal(size=s).astype(np.float32), n) for n, s in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = "edge.inputs", metadata
    return bytes(model.SerializeToString())


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    allowed = reachable(tmp_path / "store", [], [])
    transport = httpx.ASGITransport(StoreApp(tmp_path / "store", 1 << 20, allowed))
    async with httpx.AsyncClient(transport=transport, base_url="http://store") as client:
        await client.put("/v1/files/d.onnx", content=detector())
        yield client


async def registered(store: httpx.AsyncClient, **other: Any) -> dict[str, Any]:
    body = {"storageUri": "store://d.onnx", "exits": EXITS, **other}
    answer = await store.post("/v1/models", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refused(store: httpx.AsyncClient, **other: Any) -> dict[str, str]:
    answer = await store.post("/v1/models", json={"storageUri": "store://d.onnx", "exits": EXITS, **other})
    assert answer.status_code == 400, answer.text
    error: dict[str, str] = answer.json()["error"]
    return error


def shapes(metadata: dict[str, Any]) -> list[list[int]]:
    return [shape["inputs"]["x"] for shape in metadata["shapes"]]


async def test_a_model_whose_sizes_are_unknown_says_what_to_write(store: httpx.AsyncClient) -> None:
    metadata = await registered(store)
    assert [(each["input"], each["dimension"], each["symbol"]) for each in metadata["unknownSizes"]] == [
        ("x", 2, "H"),
        ("x", 3, "W"),
    ]
    assert metadata["advice"] == ADVICE
    assert metadata["inputs"][0]["shape"] == [-1, 3, -1, -1]
    assert metadata["exits"][0]["cuts"] == metadata["segments"] == metadata["shapes"] == []


async def test_bytes_of_cuts_are_those_that_onnxruntime_computes_at_each_shape(
    store: httpx.AsyncClient,
) -> None:
    inputs = [{"name": "x", "maxShape": [1, 3, 224, 160], "typicalShape": [1, 3, 96, 96]}]
    metadata = await registered(store, inputs=inputs)
    assert shapes(metadata) == [[1, 3, 96, 96], [1, 3, 160, 128], [1, 3, 224, 160]]
    (exit_,) = metadata["exits"]
    cuts = {cut["tensor"]: cut["bytesAt"] for cut in exit_["cuts"]}
    graph = Graph(detector())
    for tensor in list(cuts)[1:]:
        session = onnxruntime.InferenceSession(graph.slice(["x"], [tensor]))
        made = [session.run(None, {"x": np.zeros(shape, np.float32)})[0] for shape in shapes(metadata)]
        assert [array.nbytes for array in made] == cuts[tensor]
    assert list(cuts) == ["x", "c1", "p1", "c2", "pooled"]
    assert [cut["bytes"] for cut in exit_["cuts"]] == [at[-1] for at in cuts.values()]
    assert metadata["unknownSizes"] == []


async def test_the_metadata_of_the_file_state_shapes_too(store: httpx.AsyncClient) -> None:
    stated = '[{"name": "x", "shape": [1, 3, 64, 64]}]'
    await store.put("/v1/files/d.onnx", content=detector(stated))
    assert shapes(await registered(store)) == [[1, 3, 64, 64]]
    manifest = [{"name": "x", "shape": [1, 3, 32, 32]}]
    assert shapes(await registered(store, inputs=manifest)) == [[1, 3, 32, 32]]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([{"name": "y", "shape": [1, 3, 8, 8]}], ["model.inputs[0].name", '"y"', "its inputs are x"]),
        ([{"name": "x", "shape": [1, 4, 8, 8]}], ["model.inputs[0].shape[1]", "fixed to 3"]),
        ([{"name": "x", "shape": [1, 3, 8, 8], "datatype": "INT8"}], ["model.inputs[0].datatype", "FP32"]),
        ({"x": 1}, ["model.inputs", "is not a list"]),
    ],
)
async def test_inputs_that_contradict_the_file_are_refused(
    store: httpx.AsyncClient, inputs: Any, words: list[str]
) -> None:
    error = await refused(store, inputs=inputs)
    assert error["reason"] == "BadInputs"
    for word in words:
        assert word in error["message"]


async def put_samples(store: httpx.AsyncClient, **arrays: Any) -> dict[str, str]:
    file = io.BytesIO()
    np.savez(file, **arrays)
    await store.put("/v1/files/samples.npz", content=file.getvalue())
    return {"storageUri": "store://samples.npz"}


async def test_samples_are_kept_and_state_the_shape_that_nothing_else_does(store: httpx.AsyncClient) -> None:
    samples = await put_samples(store, x=np.ones((5, 3, 48, 40), np.float32))
    metadata = await registered(store, samples=samples)
    assert shapes(metadata) == [[1, 3, 48, 40]]
    kept = await store.get(f"/v1/blobs/{metadata['samples']}")
    first = await store.get(f"/v1/blobs/{metadata['warmUp']}")
    with np.load(io.BytesIO(first.content)) as arrays:
        assert {name: arrays[name].shape for name in arrays.files} == {"x": (1, 3, 48, 40)}
    assert np.load(io.BytesIO(kept.content))["x"].shape == (5, 3, 48, 40)
    stated = await registered(store, samples=samples, inputs=[{"name": "x", "shape": [1, 3, 64, 64]}])
    assert shapes(stated) == [[1, 3, 64, 64]]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.ones((1, 3, 8, 8), np.float32)}, ['"images" is not an input', "use x"]),
        ({"x": np.ones((1, 3, 8, 8), np.float64)}, ["float64", "FP32"]),
        ({"x": np.ones((1, 2, 8, 8), np.float32)}, ["dimension 1 is 2", "3"]),
    ],
)
async def test_samples_that_do_not_fit_are_refused(
    store: httpx.AsyncClient, arrays: dict[str, Any], words: list[str]
) -> None:
    error = await refused(store, samples=await put_samples(store, **arrays))
    assert error["reason"] == "BadSamples"
    for word in ["model.samples", *words]:
        assert word in error["message"]


async def test_a_file_other_than_npz_is_refused(store: httpx.AsyncClient) -> None:
    await store.put("/v1/files/samples.npz", content=b"not a file of arrays")
    error = await refused(store, samples={"storageUri": "store://samples.npz"})
    assert (error["reason"], "numpy.savez" in error["message"]) == ("BadSamples", True)


async def test_services_with_other_shapes_share_one_measurement(store: httpx.AsyncClient) -> None:
    first = await registered(store, inputs=[{"name": "x", "shape": [1, 3, 32, 32]}])
    second = await registered(store, inputs=[{"name": "x", "shape": [1, 3, 64, 64]}])
    assert shapes(second) == [[1, 3, 64, 64]]
    joined = (await store.get(f"/v1/models/{first['digest']}")).json()
    assert shapes(joined) == [[1, 3, 32, 32], [1, 3, 64, 64]]


async def test_sizes_that_become_known_replace_those_that_were_not(store: httpx.AsyncClient) -> None:
    digest = (await registered(store))["digest"]
    await registered(store, inputs=[{"name": "x", "shape": [1, 3, 32, 32]}])
    joined = (await store.get(f"/v1/models/{digest}")).json()
    assert len(joined["exits"]) == 1
    assert joined["exits"][0]["cuts"][0]["tensor"] == "x"


async def test_the_bytes_of_a_response_are_known_at_each_shape(store: httpx.AsyncClient) -> None:
    maps = [{"name": "final", "output": "c2", "accuracy": 0.9}]
    inputs = [{"name": "x", "maxShape": [1, 3, 64, 64], "typicalShape": [1, 3, 16, 16]}]
    await store.put("/v1/files/d.onnx", content=segmentation())
    (exit_,) = (await registered(store, exits=maps, inputs=inputs))["exits"]
    assert exit_["responseBytesAt"] == [4 * 16 * 2 * 2, 4 * 16 * 4 * 4, 4 * 16 * 8 * 8]
    assert exit_["responseBytes"] == 4 * 16 * 8 * 8


def segmentation() -> bytes:
    """The detector without its pooling: its output has a place for each eight by eight pixels."""
    model = onnx.ModelProto.FromString(detector())
    del model.graph.node[3:], model.graph.output[:], model.graph.initializer[2:]
    model.graph.output.append(helper.make_tensor_value_info("c2", TensorProto.FLOAT, ["N", 16, "h", "w"]))
    return bytes(model.SerializeToString())
