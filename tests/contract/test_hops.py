"""Hops of every kind, rendered by the operator and served by real runtimes on this machine: several tensors,
every codec, and three tiers (entry node, another edge node, a runtime that stands for Triton).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from onnx import helper, load_model_from_string, numpy_helper

from chains import IMAGE, POOL, SERVICE, Document, Runtimes, branches
from edge_operator.store import ModelStore
from edge_operator.tritons.residency import tails_of
from edge_operator.tritons.tail_models import model_config
from edge_planning.plans import Route
from networks import info, model_of, run
from waiting import until


@pytest.fixture
def runtimes(store_url: str, tmp_path: Path) -> Iterator[Runtimes]:
    with serving(branches(), store_url, tmp_path) as found:
        yield found


@contextmanager
def serving(model: bytes, store_url: str, folder: Path) -> Iterator[Runtimes]:
    with ExitStack() as stack:
        connections = stack.enter_context(httpx.Client())
        connections.put(f"{store_url}/v1/files/branches.onnx", content=model).raise_for_status()
        client = ModelStore(store_url, connections)
        yield Runtimes(client, client.register(SERVICE.spec.model), folder, stack)


@pytest.fixture(scope="module")
def whole() -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(branches(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"image": IMAGE})[0])


def by_way_of(codec: str, second: str | None = "joined") -> Route:
    """Starts with the two small tensors at the intermediate node, and after the second cut at Triton."""
    return Route(
        "final", "left+right", 0.95, 0 if second is None else 1000, 0.0, 0.05, 0.001, 0.001, 96,
        codec, "gate", second, 0.001,
    )  # fmt: skip


def test_model_metadata_lists_the_cut_of_two_tensors_where_fewer_bytes_cross_than_before(
    runtimes: Runtimes,
) -> None:
    cuts = {cut.tensor: (cut.names, cut.bytes) for cut in runtimes.card.exits[-1].cuts}
    assert cuts["left+right"] == (("left", "right"), 16)
    assert cuts["image"] == (("image",), 32)


@pytest.mark.parametrize(
    ("codec", "off"), [("fp32", 1e-6), ("fp16", 2e-3), ("int8", 2e-2), ("int8,fp16", 2e-2)]
)
def test_three_tiers_answer_as_the_whole_model_does_in_every_codec(
    runtimes: Runtimes, whole: np.ndarray[Any, Any], codec: str, off: float
) -> None:
    route = by_way_of(codec)
    runtimes.start(route)
    found = runtimes.answer(route.name)
    np.testing.assert_allclose(found, runtimes.composed(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, whole, atol=off * float(np.ptp(whole)))
    entry = runtimes.placements["cam"]["spec"]["routes"][0]
    assert [stage["runtime"] for stage in entry["stages"]] == ["Edge", "Edge", "Triton"]
    assert len(entry["codecs"]) == 2


@pytest.mark.parametrize("codec", ["fp16", "int8", "int8,fp16", "fp16,int8"])
def test_three_items_of_a_quantized_model_cross_to_an_intermediate_node_and_to_triton(
    store_url: str, tmp_path: Path, codec: str
) -> None:
    model = branches(quantised=True)
    right = run(model, {"image": IMAGE})["logits"]
    with serving(model, store_url, tmp_path) as runtimes:
        route = by_way_of(codec)
        runtimes.start(route)
        found = runtimes.answer(route.name)
    np.testing.assert_allclose(found, right, atol=2e-2 * float(np.ptp(right)))


@pytest.mark.parametrize("codec", ["fp32", "fp16", "int8"])
def test_two_tensors_cross_to_triton_in_every_codec(
    runtimes: Runtimes, whole: np.ndarray[Any, Any], codec: str
) -> None:
    route = Route("final", "left+right", 0.95, 1000, 0.0, 0.05, 0.001, 0.001, 96, codec)
    runtimes.start(route)
    found = runtimes.answer(route.name)
    np.testing.assert_allclose(found, runtimes.composed(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, whole, atol=2e-2 * np.ptp(whole))


def with_channels() -> bytes:
    """image -> wide (two channels of four values, one a thousandth of the other) -> logits; an early exit."""
    rng = np.random.default_rng(11)
    constants: dict[str, np.ndarray[Any, Any]] = {
        "we": rng.normal(size=(8, 3)).astype(np.float32),
        "wo": rng.normal(size=(8, 3)).astype(np.float32) * np.repeat([[1e3], [1.0]], 4, 0).astype(np.float32),
        "channels": np.array([0, 2, 4], np.int64),
        "flat": np.array([0, 8], np.int64),
        "sizes": np.array([[[1e-3], [1.0]]], np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["image", "we"], ["early_logits"]),
        helper.make_node("Reshape", ["image", "channels"], ["split"]),
        helper.make_node("Mul", ["split", "sizes"], ["wide"]),
        helper.make_node("Reshape", ["wide", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "wo"], ["logits"]),
    ]
    exits = [
        {"name": "early", "output": "early_logits", "accuracy": 0.8},
        {"name": "final", "output": "logits", "accuracy": 0.95},
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    outputs = [info(n, "N", 3) for n in ("early_logits", "logits")]
    return model_of(nodes, [info("image", "N", 8)], outputs, weights, exits)


def test_small_channels_cross_with_int8_per_channel_and_are_lost_with_int8(
    store_url: str, tmp_path: Path
) -> None:
    model, off = with_channels(), {}
    right = run(model, {"image": IMAGE})["logits"]
    for codec in ("int8", "int8-per-channel"):
        folder = tmp_path / codec
        folder.mkdir()
        with serving(model, store_url, folder) as runtimes:
            route = Route("final", "wide", 0.95, 1000, 0.0, 0.05, 0.001, 0.001, 96, codec)
            runtimes.start(route)
            found = runtimes.answer(route.name)
            off[codec] = float(np.abs(found - right).max() / np.ptp(right))
            entry = runtimes.placements["cam"]["spec"]["routes"][0]
            assert entry["codecs"] == [codec]
    assert off["int8-per-channel"] < 0.02
    assert off["int8"] > 0.1


@pytest.mark.parametrize("near_is_worth_more", [False, True])
def test_the_route_that_is_worth_most_answers_whatever_its_accuracy(
    runtimes: Runtimes, near_is_worth_more: bool
) -> None:
    far, near = (
        Route("final", "left+right", 0.99, 1000, 0.0, 0.05, 0.001, 0.001, 96, worth=0.9),
        replace(by_way_of("fp32", None), accuracy=0.85, worth=0.95 if near_is_worth_more else 0.85),
    )
    runtimes.start(far, near)
    until(lambda: bandwidth(runtimes) > 0, "a measurement of the link")
    runtimes.answer(near.name if near_is_worth_more else far.name)


def bandwidth(runtimes: Runtimes) -> float:
    """The entry node's estimate in bit/s."""
    lines = httpx.get(f"{runtimes.url('cam')}/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("edge_link_bandwidth_bits{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def test_what_int8_cannot_carry_is_answered_here_and_breaks_no_link(runtimes: Runtimes) -> None:
    route = Route("final", "left+right", 0.95, 1000, 0.0, 0.05, 0.001, 0.001, 96, "int8")
    runtimes.start(route)
    runtimes.answer(route.name)
    weights = {i.name: numpy_helper.to_array(i) for i in load_model_from_string(branches()).graph.initializer}
    unseen = np.linalg.svd(weights["we"].T.astype(np.float64))[2][3:]  # by the early exit
    ways = unseen / np.abs(unseen).max(axis=1, keepdims=True)
    way = max(ways, key=lambda v: float(np.abs(v @ weights["wl"]).max()))
    huge = (np.array([way, way / 1e38]) * 3.3e38).astype(np.float32)
    with np.errstate(over="ignore"):
        assert np.isinf(huge[0] @ weights["wl"]).any()
    for _ in range(3):
        reply = runtimes.ask(image=huge).json()
        assert reply["parameters"]["route"] == "early@local"
        found = np.array(reply["outputs"][0]["data"], np.float32).reshape(2, 3)
        np.testing.assert_allclose(found[1], huge[1] @ weights["we"], atol=1e-4)
    assert runtimes.ask().json()["parameters"]["route"] == route.name


def test_an_intermediate_node_does_not_forward_what_int8_cannot_carry(runtimes: Runtimes) -> None:
    runtimes.start(by_way_of("int8"))
    intermediate = runtimes.placements["gate"]["spec"]["intermediateSlices"][0]["model"]
    parts: Document = {}
    for side in ("left", "right"):
        parts[f"{side}:int8"] = np.full((1, 2), 255, np.uint8)
        parts[f"{side}:int8.scale"] = np.full((1, 1), 3e37, np.float32)
        parts[f"{side}:int8.zero"] = np.zeros((1, 1), np.uint8)
    reply = runtimes.ask("gate", intermediate, **parts)
    assert reply.status_code == 503
    assert "not finite" in reply.json()["error"]


def test_an_encoded_input_goes_out_from_a_head_that_does_nothing_else(
    runtimes: Runtimes, whole: np.ndarray[Any, Any]
) -> None:
    route = Route("final", "image", 0.95, 1000, 0.0, 0.05, None, 0.001, 96, "int8")
    runtimes.start(route)
    np.testing.assert_allclose(runtimes.answer(route.name), whole, atol=3e-2 * np.ptp(whole))


def test_triton_receives_encoded_tensors_by_the_names_that_cross(runtimes: Runtimes) -> None:
    entry, _ = runtimes.render(Route("final", "left+right", 0.95, 1000, 0.0, 0.05, 0.001, 0.001, 9, "int8"))
    (tail,) = tails_of([entry], POOL.spec, "ours").values()
    config = model_config(tail)
    assert config["input"][0] == {"name": "left:int8", "data_type": "TYPE_UINT8", "dims": [-1, 2]}
    assert config["input"][1] == {"name": "left:int8.scale", "data_type": "TYPE_FP32", "dims": [-1, 1]}
    assert [entry["name"] for entry in config["input"]][3:] == [
        "right:int8", "right:int8.scale", "right:int8.zero",
    ]  # fmt: skip


def test_a_dead_intermediate_node_costs_no_request_and_is_used_again_when_it_is_back(
    runtimes: Runtimes, whole: np.ndarray[Any, Any]
) -> None:
    route = by_way_of("int8", None)
    runtimes.start(route)
    runtimes.answer(route.name)
    runtimes.stop("gate")
    for _ in range(20):
        reply = runtimes.ask()
        assert reply.status_code == 200
        assert reply.json()["parameters"]["route"].endswith("@local")
    runtimes.run("gate", "branches")
    np.testing.assert_allclose(runtimes.answer(route.name, 30), whole, atol=2e-2 * np.ptp(whole))


def test_what_replaces_a_hop_decodes_the_activation_that_was_to_be_sent(
    runtimes: Runtimes, whole: np.ndarray[Any, Any]
) -> None:
    route = by_way_of("int8", None)
    runtimes.start(route)
    runtimes.answer(route.name)
    # The head, the early exit, and the slice after the activation, which comes last.
    until(lambda: runtimes.sessions("cam") == 3, "the slice behind the activation")
    runtimes.stop("gate")
    replies = [runtimes.ask().json() for _ in range(3)]
    stood_in = [r for r in replies if r["parameters"]["exit"] == "final"]
    assert stood_in, replies
    found = np.array(stood_in[0]["outputs"][0]["data"], np.float32).reshape(-1, 3)
    np.testing.assert_allclose(found, whole, atol=2e-2 * np.ptp(whole))


def test_an_intermediate_node_responds_while_the_link_to_triton_is_down(
    runtimes: Runtimes, whole: np.ndarray[Any, Any]
) -> None:
    across, near = by_way_of("fp32"), by_way_of("fp32", None)
    runtimes.rewritten["http://triton.test:8000/v2/health/live"] = "http://127.0.0.1:9/v2/health/live"
    runtimes.start(across, near)
    np.testing.assert_allclose(runtimes.answer(near.name), whole, atol=1e-5)


def test_an_intermediate_node_with_a_dead_next_hop_returns_503_and_the_entry_node_falls_back(
    runtimes: Runtimes,
) -> None:
    route = by_way_of("fp32")
    runtimes.start(route)
    runtimes.answer(route.name)
    runtimes.stop("cloud-0")
    intermediate = runtimes.placements["gate"]["spec"]["intermediateSlices"][0]["model"]
    half = np.zeros((1, 2), np.float32)
    reply = runtimes.ask("gate", intermediate, left=half, right=half)
    assert reply.status_code == 503
    assert "cloud" in reply.json()["error"]
    for _ in range(5):
        assert runtimes.ask().status_code == 200


def test_an_intermediate_node_accepts_only_the_inputs_of_its_slice(runtimes: Runtimes) -> None:
    runtimes.start(by_way_of("int8"))
    intermediate = runtimes.placements["gate"]["spec"]["intermediateSlices"][0]["model"]
    parts: Document = {}
    for side in ("left", "right"):
        parts[f"{side}:int8"] = np.zeros((1, 2), np.uint8)
        parts[f"{side}:int8.scale"] = np.ones((1, 1), np.float32)
        parts[f"{side}:int8.zero"] = np.zeros((1, 1), np.uint8)
    assert runtimes.ask("gate", intermediate, **parts).status_code == 200
    wrong: list[tuple[Document, str]] = [
        ({**parts, "left:int8": np.zeros((1, 3), np.uint8)}, "left:int8"),
        ({**parts, "left:int8": np.zeros((1, 2), np.float32)}, "left:int8"),
        ({n: a for n, a in parts.items() if n != "right:int8.zero"}, "right:int8.zero"),
        ({**parts, "image": IMAGE}, "image"),
    ]
    for tensors, word in wrong:
        reply = runtimes.ask("gate", intermediate, **tensors)
        assert reply.status_code == 400, word
        assert word in reply.json()["error"]
    unknown = runtimes.ask("gate", "branches-intermediate-0000000000", **parts)
    assert (unknown.status_code, "is not served here" in unknown.json()["error"]) == (404, True)
    assert runtimes.ask("cam", intermediate, **parts).status_code == 404


def test_a_forwarding_stage_is_a_model_of_the_protocol_beside_the_service(runtimes: Runtimes) -> None:
    runtimes.start(by_way_of("fp16"))
    intermediate = runtimes.placements["gate"]["spec"]["intermediateSlices"][0]["model"]
    url = runtimes.url("gate")
    index = httpx.post(f"{url}/v2/repository/index", json={}).json()
    assert [entry["name"] for entry in index] == ["branches", intermediate]
    metadata = httpx.get(f"{url}/v2/models/{intermediate}").json()
    assert metadata["inputs"] == [
        {"name": "left:fp16", "datatype": "FP16", "shape": [-1, 2]},
        {"name": "right:fp16", "datatype": "FP16", "shape": [-1, 2]},
    ]
    assert metadata["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]
    assert httpx.get(f"{url}/v2/models/{intermediate}/ready").json()["ready"] is True


def test_an_intermediate_node_without_time_left_does_not_call_the_next_hop(runtimes: Runtimes) -> None:
    runtimes.start(by_way_of("fp32"))
    intermediate = runtimes.placements["gate"]["spec"]["intermediateSlices"][0]["model"]
    half = {"shape": [1, 2], "datatype": "FP32", "data": [0.0, 0.0]}
    asked = {
        "inputs": [{"name": "left", **half}, {"name": "right", **half}],
        "parameters": {"timeout": 1},
    }
    reply = httpx.post(f"{runtimes.url('gate')}/v2/models/{intermediate}/infer", json=asked)
    assert reply.status_code == 503


def test_an_intermediate_node_serves_again_from_its_disk_while_the_store_is_out_of_reach(
    runtimes: Runtimes, whole: np.ndarray[Any, Any]
) -> None:
    route = by_way_of("int8", None)
    runtimes.start(route)
    runtimes.answer(route.name)
    runtimes.stop("gate")
    runtimes.run("gate", "branches", store="http://127.0.0.1:9")
    np.testing.assert_allclose(runtimes.answer(route.name, 30), whole, atol=2e-2 * float(np.ptp(whole)))


def test_an_intermediate_nodes_hops_are_in_the_metrics_of_its_node(runtimes: Runtimes) -> None:
    route = by_way_of("fp32")
    runtimes.start(route)
    runtimes.answer(route.name)
    runtimes.stop("cloud-0")
    half = np.zeros((1, 2), np.float32)
    intermediate = runtimes.placements["gate"]["spec"]["intermediateSlices"][0]["model"]
    assert runtimes.ask("gate", intermediate, left=half, right=half).status_code == 503
    metrics = httpx.get(f"{runtimes.url('gate')}/metrics").text
    lines = [line for line in metrics.splitlines() if line.startswith("edge_hop_duration_seconds_count")]
    found = {line.split('outcome="')[1].split('"')[0] for line in lines if f'route="{intermediate}"' in line}
    assert found == {"ok", "failed"}
    assert f'route="{intermediate}"' not in "".join(
        line for line in metrics.splitlines() if line.startswith("edge_request_duration_seconds")
    )
