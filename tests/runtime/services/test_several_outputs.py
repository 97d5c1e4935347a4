"""Early exits, local tails, batches and reused responses of a model whose exits have several outputs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cutting_store import CuttingStore
from edge_runtime.dataplane import Dataplane
from edge_runtime.errors import BadTensor
from edge_runtime.inference import runners
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.routing.loaded_tables import LoadedTable
from messages import mentions
from networks import Array, info, model_of, run
from placed import Document, eventually, node, placed_service
from stages import alone

_RANDOM: Final = np.random.default_rng(3)
FINAL, EARLY = ("logits", "marks", "gain"), ("logits1", "marks1", "gain1")
SURE: Final = np.array([[9, 0, 0, 0], [0, 9, 0, 0]], np.float32)
UNSURE: Final = np.array([[0.1, 0, 0, 0], [0, 0, 0.1, 0]], np.float32)


def _model() -> bytes:
    """x [N, 4] and a scalar -> h -> the early exit; h and the scalar -> the final one.

    Each exit has scores of classes, places where its scores are positive, and the scalar that it used.
    """
    nodes = [
        helper.make_node("MatMul", ["x", "eye"], ["h"]),
        helper.make_node("Cast", ["rate"], ["gain1"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["h", "nothing"], ["logits1"]),
        helper.make_node("NonZero", ["logits1"], ["marks1"]),
        helper.make_node("Cast", ["rate"], ["gain"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["h", "gain"], ["logits"]),
        helper.make_node("NonZero", ["logits"], ["marks"]),
    ]
    weights = [
        numpy_helper.from_array(np.eye(4, dtype=np.float32), "eye"),
        numpy_helper.from_array(np.zeros((1, 4), np.float32), "nothing"),
    ]
    outputs = []
    for logits, marks, gain in (EARLY, FINAL):
        outputs += [info(logits, "N", 4), info(marks, 2, "found", datatype="INT64"), info(gain)]
    return model_of(nodes, [info("x", "N", 4), info("rate", datatype="INT64")], outputs, weights)


MODEL: Final = _model()


def _exits(names: str) -> list[Document]:
    both = [["x", "rate"], ["h", "rate"]]
    cuts = [{"tensor": "+".join(cut), "tensors": cut, "bytes": 1} for cut in both]
    early = {"name": "early", "outputs": list(EARLY), "accuracy": 0.8, "responseNames": names, "cuts": cuts}
    final = {"name": "final", "outputs": list(FINAL), "accuracy": 0.9, "responseNames": "Final", "cuts": cuts}
    return [early, final]


def _placement(store: CuttingStore, *routes: Document, **spec: Any) -> Document:
    model = {
        "digest": store.graph.digest,
        "inputs": [store.graph.tensor(name).document() for name in store.graph.inputs],
        "outputs": [store.graph.tensor(name).document() for name in FINAL],
    }
    spec = {"service": "s", "node": "edge-a", "model": model, "slo": {"latency": "5s"}} | spec
    return {
        "metadata": {"name": "s-edge-a", "namespace": "default", "generation": 1},
        "spec": {**spec, "routes": list(routes)},
    }


def _route(name: str, accuracy: float, *stages: Document) -> Document:
    exit_, _, cut = name.partition("@")
    return {
        "name": name, "exit": exit_, "cut": cut, "accuracy": accuracy, "minBandwidth": "0",
        "predictedLatency": "10ms", "stages": list(stages),
    }  # fmt: skip


def _here(slice_: Document) -> Document:
    return {"place": "edge-a", "runtime": "Edge", "slice": slice_}


def local(store: CuttingStore) -> Document:
    return _route("final@local", 0.9, _here(store.cut(["x", "rate"], FINAL)))


def split(store: CuttingStore, codec: str = "fp32", port: int = 9) -> list[Document]:
    """A hop, by default to a port that refuses connections, and a local route to the early exit."""
    tail = store.cut(["h", "rate"], FINAL, decode=codec)
    address = f"http://127.0.0.1:{port}"
    far = {"place": "near", "runtime": "Edge", "address": address, "model": "m", "slice": tail}
    head = _here(store.cut(["x", "rate"], ["h", "rate"], encode=codec))
    hop = _route("final@h+rate", 0.9, head, far) | {"cutTensors": ["h", "rate"], "codecs": [codec]}
    return [hop, _route("early@local", 0.8, _here(store.cut(["x", "rate"], EARLY)))]


@asynccontextmanager
async def _served(
    folder: Path, store: CuttingStore, document: Document, complete: Callable[[LoadedTable], Any] = bool
) -> AsyncIterator[Dataplane]:
    """complete: whether the table has what is loaded behind it."""
    async with node(folder, store) as services:
        services.replace([document])
        await eventually(lambda: len(services.models.index(only_ready=True)) == 1)
        placed = placed_service(services, "s")
        await eventually(lambda: bool((table := placed.generations.table) and complete(table)))
        yield placed.dataplane


def _inputs(x: Array, rate: int = 2) -> dict[str, Array]:
    return {"x": x, "rate": np.array(rate, np.int64)}


def _equal(response: InferenceResponse, inputs: Mapping[str, Array], names: tuple[str, ...]) -> None:
    right = run(MODEL, inputs)
    assert len(response.outputs) == len(names)
    for name, array in zip(names, response.outputs, strict=True):
        assert (array.dtype, array.shape) == (right[name].dtype, right[name].shape)
        np.testing.assert_allclose(array, right[name], rtol=1e-6)


Exits = Callable[..., AbstractAsyncContextManager[Dataplane]]


@pytest.fixture
def early(tmp_path: Path) -> Exits:
    """A local route whose inputs may leave at the early exit with a confidence of 0.9."""

    @asynccontextmanager
    async def served(names: str = "Final") -> AsyncIterator[Dataplane]:
        store = CuttingStore(MODEL, _exits(names))
        document = _placement(store, local(store), earlyExit={"mode": "Confidence", "threshold": 0.9})
        async with _served(tmp_path, store, document, attrgetter("branched_routes")) as plane:
            yield plane

    return served


async def test_a_sure_input_leaves_with_all_outputs_of_its_exit(early: Exits) -> None:
    async with early() as plane:
        for x, exit_, names in ((SURE, "early", EARLY), (UNSURE, "final", FINAL)):
            response = await plane.infer(InferenceRequest(_inputs(x), ()))
            assert response.parameters["exit"] == exit_
            assert response.tensors is None  # the names of the model
            _equal(response, _inputs(x), names)
        named = await plane.infer(InferenceRequest(_inputs(SURE), ["marks", "logits"]))
        assert named.parameters["exit"] == "early"
        _equal(named, _inputs(SURE), ("marks1", "logits1"))


async def test_an_early_exit_with_names_of_its_own_responds_to_those_who_name_none(early: Exits) -> None:
    async with early("Own") as plane:
        response = await plane.infer(InferenceRequest(_inputs(SURE), ()))
        assert response.parameters["exit"] == "early"
        assert tuple(t.name for t in response.tensors or ()) == EARLY
        _equal(response, _inputs(SURE), EARLY)
        named = await plane.infer(InferenceRequest(_inputs(SURE), ["logits"]))
        assert named.parameters["exit"] == "final"  # the early exit has no such output
        _equal(named, _inputs(SURE), ("logits",))


@pytest.mark.parametrize("codec", ["fp32", "int8"])
@pytest.mark.parametrize("sure", [True, False])
async def test_the_local_tail_continues_from_the_cut_with_all_outputs(
    codec: str, sure: bool, tmp_path: Path
) -> None:
    """A sure input leaves before the hop; the hop of another fails, and the tail responds, too."""
    store = CuttingStore(MODEL, _exits("Final"))
    policy = {"mode": "Confidence", "threshold": 0.9}
    document = _placement(store, *split(store, codec), earlyExit=policy)
    async with _served(tmp_path, store, document, attrgetter("fallbacks")) as plane:
        x = SURE if sure else UNSURE
        response = await plane.infer(InferenceRequest(_inputs(x, 1), ()))
        assert (response.parameters["exit"], response.parameters["route"]) == ("early", "early@local")
        right = run(MODEL, _inputs(x, 1))
        for name, array in zip(EARLY, response.outputs, strict=True):
            if codec == "fp32" or name != "marks1":  # int8 rounds values near 0
                np.testing.assert_allclose(array, right[name], atol=0.02 * float(x.max()))


async def test_an_exit_before_the_hop_does_not_respond_without_an_output_that_the_client_names(
    tmp_path: Path,
) -> None:
    store = CuttingStore(MODEL, _exits("Own"))
    (tmp_path / "m.onnx").write_bytes(store.graph.slice(["h", "rate"], FINAL))
    with alone(tmp_path / "m.onnx") as (port, _, _):
        policy = {"mode": "Confidence", "threshold": 0.9}
        document = _placement(store, *split(store, port=port), earlyExit=policy)
        async with _served(tmp_path / "node", store, document, attrgetter("fallbacks")) as plane:
            early = await plane.infer(InferenceRequest(_inputs(SURE), ()))
            assert tuple(t.name for t in early.tensors or ()) == EARLY
            final = await plane.infer(InferenceRequest(_inputs(SURE), ["marks"]))
            assert final.parameters["route"] == "final@h+rate"
            _equal(final, _inputs(SURE), ("marks",))


async def test_a_failed_hop_falls_back_to_a_local_route_with_names_of_its_own(tmp_path: Path) -> None:
    store = CuttingStore(MODEL, [])
    hop, near = split(store)
    near["outputs"] = [{"name": name, "tensor": name} for name in EARLY]
    async with _served(tmp_path, store, _placement(store, hop, near)) as plane:
        response = await plane.infer(InferenceRequest(_inputs(SURE), ()))
        assert tuple(t.name for t in response.tensors or ()) == EARLY
        _equal(response, _inputs(SURE), EARLY)
        with pytest.raises(BadTensor, match=mentions("outputs", '"marks"', "early", *EARLY)):
            await plane.infer(InferenceRequest(_inputs(SURE), ["marks"]))


async def test_requests_that_share_a_run_get_their_rows_of_every_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "INLINE", 0.0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Tanh", ["h"], ["logits"]),
        helper.make_node("Mul", ["h", "y"], ["marks"]),
        helper.make_node("ReduceSum", ["h", "axes"], ["gain"], keepdims=0),
    ]
    weights = [
        numpy_helper.from_array(_RANDOM.normal(size=(512, 512)).astype(np.float32), "w"),
        numpy_helper.from_array(np.array([1], np.int64), "axes"),
    ]
    inputs = [info("x", "N", 512), info("y", "N", 512)]
    outputs = [info("logits", "N", 512), info("marks", "N", 512), info("gain", "N")]
    model = model_of(nodes, inputs, outputs, weights)
    store = CuttingStore(model, [])
    document = _placement(store, _route("final@local", 0.9, _here(store.cut(["x", "y"], FINAL))))
    feeds = [
        {name: _RANDOM.normal(size=(1 + i % 2, 512)).astype(np.float32) for name in ("x", "y")}
        for i in range(8)
    ]
    right = [run(model, each) for each in feeds]
    async with _served(tmp_path, store, document) as plane, asyncio.timeout(60):
        while True:
            found = await asyncio.gather(*(plane.infer(InferenceRequest(each, ())) for each in feeds))
            for response, expected in zip(found, right, strict=True):
                for name, array in zip(FINAL, response.outputs, strict=True):
                    np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-3)
            joined = plane.metrics.registry.get_sample_value(
                "edge_batch_size_bucket", {"service": "s", "le": "1.0"}
            )
            if joined != plane.metrics.registry.get_sample_value("edge_batch_size_count", {"service": "s"}):
                break


async def test_a_reused_response_keeps_the_names_of_its_exit(tmp_path: Path) -> None:
    store = CuttingStore(MODEL, [])
    _, near = split(store)
    near["outputs"] = [{"name": name, "tensor": name} for name in EARLY]
    document = _placement(store, near, resultCache={"maxBytes": "1Mi", "maxAge": "1h"})
    async with node(tmp_path, store) as services:
        services.replace([document])
        await eventually(lambda: len(services.models.index(only_ready=True)) == 1)
        service = placed_service(services, "s")
        await eventually(lambda: service.dataplane.memoization.unrepeatable == "")
        for cached in (None, True):
            response = await services.models.ask("s", InferenceRequest(_inputs(SURE), ()))
            assert response.parameters.get("cached") is cached
            assert tuple(t.name for t in response.tensors or ()) == EARLY
            _equal(response, _inputs(SURE), EARLY)
        other = await services.models.ask("s", InferenceRequest(_inputs(SURE, 5), ()))
        assert "cached" not in other.parameters  # another scalar is another input
        _equal(other, _inputs(SURE, 5), EARLY)
        named = await services.models.ask("s", InferenceRequest(_inputs(SURE), ["gain1"]))
        assert "cached" not in named.parameters
        _equal(named, _inputs(SURE), ("gain1",))
