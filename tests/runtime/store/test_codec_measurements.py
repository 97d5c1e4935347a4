"""Accuracies of codecs over the store's API: measured on labeled samples, stored, or refused."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import pytest_asyncio
from onnx import helper, numpy_helper

from edge_runtime.errors import CannotLoad
from edge_runtime.inference.memory import Memory
from edge_runtime.slicing import Graph
from edge_runtime.store import codec_measurements, measuring_process
from edge_runtime.store.app import StoreApp
from messages import mentions
from misbehaving import crashing, endless
from networks import info, model_of, run

IMAGES = np.random.default_rng(3).normal(size=(120, 1, 16, 16)).astype(np.float32)


def packed(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@pytest.fixture(scope="module")
def labels(chain_model: bytes) -> Any:
    """The model's own results as labels: its accuracy is then 1."""
    return run(chain_model, {"image": IMAGES})["logits"].argmax(1)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(StoreApp(tmp_path / "store", 1 << 20))
    async with httpx.AsyncClient(transport=transport, base_url="http://store") as client:
        yield client


async def _model(store: httpx.AsyncClient, chain_model: bytes) -> str:
    await store.put("/v1/files/chain.onnx", content=chain_model)
    digest: str = (await store.post("/v1/models", json={"storageUri": "store://chain.onnx"})).json()["digest"]
    return digest


async def _ask(
    store: httpx.AsyncClient, model: str, data: bytes | None, exits: Any = None, **more: Any
) -> httpx.Response:
    if data is not None:
        assert (await store.put("/v1/files/heldout.npz", content=data)).status_code == 200
    validation = {"storageUri": "store://heldout.npz", **more}
    while True:
        asked = {"model": model, "validation": validation} | ({"exits": exits} if exits else {})
        answer = await store.post("/v1/codecs", json=asked)
        if answer.status_code != 200 or answer.json()["complete"]:
            return answer
        await asyncio.sleep(0.05)


async def test_every_codec_is_measured_at_every_cut_and_the_response_is_kept(
    store: httpx.AsyncClient, chain_model: bytes, labels: Any, tmp_path: Path
) -> None:
    model = await _model(store, chain_model)
    found = (await _ask(store, model, packed(inputs=IMAGES, labels=labels))).json()
    assert found["samples"] == 120
    at = {(m["exit"], *m["cut"], m["codec"]): m for m in found["measured"]}
    whole = at["final", "pool1", "fp32"]
    assert (whole["accuracy"], whole["agreement"]) == (1.0, 1.0)
    assert at["final", "pool1", "int8"]["bytes"] == pytest.approx(whole["bytes"] / 4, abs=8)
    assert at["final", "pool1", "fp16"]["bytes"] == whole["bytes"] / 2
    assert 0.9 < at["final", "pool1", "int8"]["accuracy"] <= 1.0
    again = httpx.ASGITransport(StoreApp(tmp_path / "store", 1 << 20))
    async with httpx.AsyncClient(transport=again, base_url="http://store") as other:
        validation = {"storageUri": "store://heldout.npz"}
        known = await other.post("/v1/codecs", json={"model": model, "validation": validation})
    assert known.json() == found


async def test_agreement_with_the_full_model_needs_no_labels(
    store: httpx.AsyncClient, chain_model: bytes
) -> None:
    model = await _model(store, chain_model)
    found = (await _ask(store, model, packed(inputs=IMAGES), metric="Agreement")).json()
    assert found["metric"] == "Agreement"
    at = {(m["exit"], *m["cut"], m["codec"]): m["accuracy"] for m in found["measured"]}
    assert at["final", "pool1", "fp32"] == 1.0
    assert 0.9 < at["final", "pool1", "int8"] <= 1.0
    whole = run(chain_model, {"image": IMAGES})
    early = (whole["exit1_logits"].argmax(1) == whole["logits"].argmax(1)).mean()
    assert at["exit1", "image", "fp32"] == pytest.approx(early)
    assert [exit_["exit"] for exit_ in found["confidences"][0]["exits"]] == ["exit1", "exit2", "final"]


async def test_a_model_whose_batch_is_one_is_measured_one_sample_after_the_other(
    store: httpx.AsyncClient, chain_model: bytes, labels: Any
) -> None:
    fixed = onnx.load_from_string(chain_model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    await store.put("/v1/files/chain.onnx", content=fixed.SerializeToString())
    model = (await store.post("/v1/models", json={"storageUri": "store://chain.onnx"})).json()["digest"]
    found = (await _ask(store, model, packed(inputs=IMAGES, labels=labels))).json()
    at = {(m["exit"], *m["cut"], m["codec"]): m["accuracy"] for m in found["measured"]}
    assert at["final", "pool1", "fp32"] == 1.0
    assert 0.9 < at["final", "pool1", "int8"] <= 1.0


async def test_a_detector_with_an_exit_of_several_outputs_is_measured_by_its_boxes(
    store: httpx.AsyncClient,
) -> None:
    """It gives the four numbers that it gets, plus one of its own that rounds, as the only box."""
    nodes = [
        helper.make_node("Mul", ["x", "one"], ["inner"]),
        helper.make_node("Reshape", ["inner", "box"], ["boxes"]),
        helper.make_node("ReduceMax", ["inner"], ["high"], axes=[1]),
        helper.make_node("Sigmoid", ["high"], ["scores"]),
    ]
    shapes = [
        numpy_helper.from_array(np.ones(4, np.float32), "one"),
        numpy_helper.from_array(np.array([-1, 1, 4]), "box"),
    ]
    exits = [{"name": "final", "outputs": ["boxes", "scores"]}]
    outputs = [info("boxes", "N", 1, 4), info("scores", "N", 1)]
    await store.put("/v1/files/boxes.onnx", content=model_of(nodes, [info("x", "N", 4)], outputs, shapes))
    asked = {"storageUri": "store://boxes.onnx", "exits": exits}
    model = (await store.post("/v1/models", json=asked)).json()["digest"]
    corners = np.random.default_rng(2).uniform(0, 9, (120, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners[:, 0], corners[:, 0] + 1 + corners[:, 1]], axis=1)
    data = packed(inputs=boxes, boxes=boxes, classes=np.zeros(120, np.int64), images=np.arange(120))
    found = (await _ask(store, model, data, exits, metric="MeanAveragePrecision")).json()
    at = {(m["exit"], *m["cut"], m["codec"]): m["accuracy"] for m in found["measured"]}
    assert at["final", "inner", "fp32"] == pytest.approx(1.0)
    assert 0.5 < at["final", "inner", "int8"] <= 1.0
    assert found["confidences"] == []


async def test_an_unknown_metric_and_one_for_other_outputs_are_refused(
    store: httpx.AsyncClient, chain_model: bytes
) -> None:
    model = await _model(store, chain_model)
    words = np.array(["a b"] * 120)
    unknown = await _ask(store, model, packed(inputs=IMAGES, labels=words), metric="BLEU")
    assert mentions("validation.metric", "BLEU", "WordErrorRate").search(unknown.json()["error"]["message"])
    other = await _ask(store, model, packed(inputs=IMAGES, labels=words), metric="WordErrorRate")
    parts = ("exit exit1 gives float32 [120, 10]", "WordErrorRate", "[N, steps, classes]")
    assert mentions(*parts).search(other.json()["error"]["message"])


async def test_a_cut_that_fails_is_reported_and_the_others_are_measured(
    store: httpx.AsyncClient, chain_model: bytes, labels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Graph.slice

    def cut(graph: Graph, start: Any, end: Any, **codecs: str) -> bytes:
        if "pool1" in start and codecs.get("decode") == "int8":
            raise CannotLoad("that one is broken")
        return whole(graph, start, end, **codecs)

    def here(_: object, order: measuring_process.Order) -> Any:
        return measuring_process.answer(order.document(), b"", lambda _: None)["found"]

    monkeypatch.setattr(Graph, "slice", cut)
    monkeypatch.setattr(codec_measurements.CodecMeasurements, "_measure", here)
    model = await _model(store, chain_model)
    found = (await _ask(store, model, packed(inputs=IMAGES, labels=labels))).json()
    assert found["complete"]
    assert found["refused"] == [{"cut": ["pool1"], "codec": "int8", "why": "that one is broken"}]
    at = {(m["exit"], *m["cut"], m["codec"]) for m in found["measured"]}
    assert ("final", "pool1", "int8") not in at
    assert {("final", "pool1", "fp16"), ("final", "image", "int8"), ("exit1", "image", "fp32")} <= at


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"labels": None}, ("labels are missing", "Accuracy")),
        (
            {"inputs": IMAGES[:50], "labels": np.zeros(50, np.int64)},
            ("50 samples", 100),
        ),
        (
            {"inputs": IMAGES.astype(np.float64)},
            ("float64 [120, 1, 16, 16]", "image FP32"),
        ),
        ({"inputs": IMAGES[:, :, :8]}, ("float32 [120, 1, 8, 16]", "image FP32")),
        ({"labels": np.zeros((120, 10), np.int64)}, ("labels are int64 [120, 10]", "120 inputs")),
        ({"labels": np.zeros(120, np.float32)}, ("labels are float32 [120]", "120 inputs")),
        ({"inputs": np.full_like(IMAGES, np.nan)}, ("inputs", "finite")),
        ({"labels": np.full(120, 77)}, ("0.000", "120 samples")),
        ({"inputs": None}, ("inputs are missing", "labels")),
    ],
)
async def test_unusable_validation_data_is_refused_with_a_message(
    store: httpx.AsyncClient,
    chain_model: bytes,
    labels: Any,
    change: dict[str, Any],
    parts: tuple[object, ...],
) -> None:
    model = await _model(store, chain_model)
    arrays = {k: v for k, v in {"inputs": IMAGES, "labels": labels, **change}.items() if v is not None}
    answer = await _ask(store, model, packed(**arrays))
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "BadRequest")
    assert answer.json()["error"]["message"].startswith("validation: ")
    assert mentions(*parts).search(answer.json()["error"]["message"])


SUMMANDS = {
    name: np.random.default_rng(seed).normal(size=(120, 4)).astype(np.float32)
    for seed, name in enumerate(("left", "labels"))
}


def sums() -> bytes:
    """The sum of two inputs in four classes; one input has the name of the metric's array."""
    nodes = [
        helper.make_node("Add", ["left", "labels"], ["both"]),
        helper.make_node("MatMul", ["both", "w"], ["scores"]),
    ]
    weights = [numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")]
    inputs = [info(name, "N", 4) for name in SUMMANDS]
    exits = [{"name": "final", "output": "scores", "accuracy": 0.9}]
    return model_of(nodes, inputs, [info("scores", "N", 4)], weights, exits)


async def test_a_model_with_several_inputs_is_measured_on_an_array_for_each(store: httpx.AsyncClient) -> None:
    model = await _model(store, sums())
    right = (SUMMANDS["left"] + SUMMANDS["labels"]).argmax(1)
    data = {"left": SUMMANDS["left"], "inputs.labels": SUMMANDS["labels"], "labels": right}
    found = (await _ask(store, model, packed(**data))).json()
    at = {(*m["cut"], m["codec"]): m["accuracy"] for m in found["measured"]}
    assert at["both", "fp32"] == 1.0
    assert at["both", "int8"] > 0.9
    assert found["samples"] == 120


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"left": None, "inputs.labels": None}, ("left", "inputs.labels", "missing", "numpy.savez")),
        ({"inputs.labels": None}, ("inputs.labels", "missing")),
        ({"right": np.ones(3)}, ("right", "neither", "Accuracy")),
        ({"left": SUMMANDS["left"][:110]}, ("left has 110", "inputs.labels has 120")),
        ({"left": SUMMANDS["left"][:, :3]}, ("[120, 3]", "left FP32")),
    ],
)
async def test_arrays_that_are_not_the_inputs_are_refused_with_their_names(
    store: httpx.AsyncClient, change: dict[str, Any], parts: tuple[object, ...]
) -> None:
    model = await _model(store, sums())
    right = {"left": SUMMANDS["left"], "inputs.labels": SUMMANDS["labels"], "labels": np.zeros(120, int)}
    arrays = {name: array for name, array in {**right, **change}.items() if array is not None}
    answer = await _ask(store, model, packed(**arrays))
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "BadRequest")
    assert mentions(*parts).search(answer.json()["error"]["message"])


async def test_inputs_without_a_batch_are_refused_with_the_reason(store: httpx.AsyncClient) -> None:
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    model = await _model(store, model_of(nodes, [info("x", "N", 4), info("factor")], [info("y", "N", 4)], []))
    data = packed(x=SUMMANDS["left"], factor=np.ones(120, np.float32), labels=np.zeros(120, np.int64))
    answer = await _ask(store, model, data)
    assert mentions("factor", "batch dimension", "spec.model.validation").search(
        answer.json()["error"]["message"]
    )


async def test_a_file_that_is_invalid_is_refused_and_objects_are_not_read(
    store: httpx.AsyncClient, chain_model: bytes
) -> None:
    model = await _model(store, chain_model)
    pickled = packed(inputs=np.array([{}] * 120, dtype=object), labels=np.zeros(120, np.int64))
    for data in (b"not a zip", pickled):
        answer = await _ask(store, model, data)
        assert answer.status_code == 400
        assert mentions(".npz", "arrays").search(answer.json()["error"]["message"])


async def test_what_unpacks_to_more_than_the_store_takes_is_refused(
    store: httpx.AsyncClient, chain_model: bytes
) -> None:
    model = await _model(store, chain_model)
    data = packed(inputs=np.zeros((4000, 1, 16, 16), np.float32), labels=np.zeros(4000, np.int64))
    assert len(data) < 1 << 17
    answer = await _ask(store, model, data)
    assert "the limit of 1048576" in answer.json()["error"]["message"]


async def test_where_the_data_lies_is_checked_as_a_models_is(
    store: httpx.AsyncClient, chain_model: bytes
) -> None:
    model = await _model(store, chain_model)
    answers = {
        "ftp://x/y.npz": 'validation.storageUri: "ftp://x/y.npz" has scheme "ftp"',
        "store://none.npz": 'no file "none.npz" in this store',
    }
    for uri, words in answers.items():
        answer = await _ask(store, model, None, storageUri=uri)
        assert words in answer.json()["error"]["message"]
    wrong = await _ask(store, model, packed(inputs=IMAGES, labels=IMAGES), digest="sha256:" + "0" * 64)
    assert (wrong.status_code, wrong.json()["error"]["reason"]) == (422, "DigestMismatch")
    assert wrong.json()["error"]["message"].startswith("validation.digest")


@pytest.mark.parametrize(("misbehaves", "reason"), [(crashing, "TrialCrashed"), (endless, "TrialHung")])
async def test_a_model_that_ends_the_process_that_measures_it_ends_no_store(
    store: httpx.AsyncClient,
    chain_model: bytes,
    labels: Any,
    misbehaves: Any,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codec_measurements, "_MORE", 5.0 - 2 * codec_measurements.BUDGET)
    await store.put("/v1/files/bad.onnx", content=misbehaves())
    exits = [{"name": "full", "output": "y", "accuracy": 0.9}]
    metadata = await store.post("/v1/models", json={"storageUri": "store://bad.onnx", "exits": exits})
    data = packed(inputs=np.zeros((120, 8), np.float32), labels=np.zeros(120, np.int64))
    refused = await _ask(store, metadata.json()["digest"], data, exits=exits)
    assert refused.status_code == 400
    assert refused.json()["error"]["reason"] == reason
    assert metadata.json()["digest"] in refused.json()["error"]["message"]
    monkeypatch.undo()
    model = await _model(store, chain_model)
    assert (await _ask(store, model, packed(inputs=IMAGES, labels=labels))).json()["complete"]


async def test_what_lacked_memory_is_said_so_and_measured_again_when_there_is_more(
    store: httpx.AsyncClient, chain_model: bytes, labels: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = await _model(store, chain_model)
    data = packed(inputs=IMAGES, labels=labels)
    with monkeypatch.context() as patch:
        patch.setattr(Memory, "room", lambda _: 1.0)
        refused = await _ask(store, model, data)
    assert (refused.status_code, refused.json()["error"]["reason"]) == (400, "TrialOverran")
    assert "raise the memory limit" in refused.json()["error"]["message"]
    assert (await _ask(store, model, data)).json()["complete"]


async def test_a_response_that_lacks_a_cut_for_lack_of_memory_is_not_kept(
    store: httpx.AsyncClient,
    chain_model: bytes,
    labels: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lacking(_: object, order: measuring_process.Order) -> Any:
        refused = [{"cut": ["pool1"], "codec": "int8", "why": "not enough memory: no 25 MiB"}]
        return {"complete": True, "samples": 120, "measured": [], "refused": refused}

    monkeypatch.setattr(codec_measurements.CodecMeasurements, "_measure", lacking)
    model = await _model(store, chain_model)
    found = (await _ask(store, model, packed(inputs=IMAGES, labels=labels))).json()
    assert found["refused"]
    assert not list((tmp_path / "store/codecs").glob("*.json"))
