"""Hops of every kind, rendered by the operator and served by real runtimes on this machine: several tensors,
every codec, and three tiers (entry node, another edge node, a runtime that stands for Triton).
"""

import asyncio
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import onnxruntime
import pytest
import uvloop
from onnx import TensorProto, helper, numpy_helper

from edge_operator import relaying, rendering
from edge_operator.api import DevicePool, InferenceService, Placement
from edge_operator.pools import Node, PoolMember
from edge_operator.residency import tails_of
from edge_operator.store import ModelCard, ModelStore
from edge_operator.triton import model_config
from edge_planning.plans import Route, RouteTable
from edge_runtime.cli import _parser
from edge_runtime.server import run as serve

Document = dict[str, Any]
IMAGE = np.random.default_rng(5).normal(size=(3, 8)).astype(np.float32)
_PORTS = itertools.count(17000 + os.getpid() % 2000)

POOL = DevicePool.model_validate(
    {
        "metadata": {"name": "factory"},
        "spec": {
            "nodes": [
                {"tier": "device", "deviceClass": "camera", "nodeSelector": {"class": "camera"}},
                {"tier": "edge", "deviceClass": "gateway", "nodeSelector": {"class": "gateway"}},
            ],
            "tritonServers": [
                {
                    "name": "cloud",
                    "httpAddress": "triton.test:8000",
                    "deviceClass": "cloud",
                    "nodeSelector": {"class": "cloud"},
                }
            ],
            "links": {"probeInterval": "500ms"},
        },
    }
)
SERVICE = InferenceService.model_validate(
    {
        "metadata": {"name": "branches", "namespace": "shop", "uid": "u-1"},
        "spec": {
            "model": {"storageUri": "store://branches.onnx"},
            "slo": {"latency": "2s"},
            "devicePool": "factory",
        },
    }
)


def branches() -> bytes:
    """image -> left, right (two small tensors) -> joined -> logits, and an early exit before all of that."""
    random = np.random.default_rng(9)
    shapes = {"wl": (8, 2), "wr": (8, 2), "wj": (4, 6), "wo": (6, 3), "we": (8, 3)}
    weights = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("MatMul", ["image", "we"], ["early_logits"]),
        helper.make_node("MatMul", ["image", "wl"], ["left"]),
        helper.make_node("MatMul", ["image", "wr"], ["right"]),
        helper.make_node("Concat", ["left", "right"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "wj"], ["joined"]),
        helper.make_node("MatMul", ["joined", "wo"], ["logits"]),
    ]
    outputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in ("early_logits", "logits")
    ]
    graph = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 8])],
        outputs,
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    exits = [
        {"name": "early", "output": "early_logits", "accuracy": 0.8},
        {"name": "final", "output": "logits", "accuracy": 0.95},
    ]
    helper.set_model_props(model, {"edge.exits": json.dumps(exits)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@dataclass
class Runtimes:
    """Runtimes in threads, each with the placement that the operator renders for it."""

    store: ModelStore
    card: ModelCard
    folder: Path
    stack: ExitStack
    rewritten: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, ExitStack] = field(default_factory=dict)
    placements: dict[str, Document] = field(default_factory=dict)

    def render(self, *routes: Route) -> tuple[Placement, Placement]:
        """The tables of the entry node and of its helper, as the operator publishes them in the end."""
        local = Route("early", None, 0.8, 0, 0.0, 0.01, 0.001, None, 0)
        entry, helping = (RouteTable((*r, local), 0.9, 0.0) for r in (routes, ()))
        slices = {key: self.store.slice(*key) for key in rendering.needed_slices(self.card, [entry, helping])}
        members = [
            PoolMember(Node(name, {}, ready=True), kind, tier)
            for name, kind, tier in (("cam", "camera", "device"), ("gate", "gateway", "edge"))
        ]
        first, second = (
            rendering.placement(
                SERVICE.body(),
                SERVICE.spec,
                member,
                POOL.spec,
                self.card,
                table,
                slices,
                self.store.url,
                0.001,
            )
            for member, table in zip(members, (entry, helping), strict=True)
        )
        relays = relaying.relays_of([first])
        return first, relaying.with_relays(second, relays.get("gate", {}))

    def start(self, *routes: Route) -> None:
        """Triton's stand-in for each tail, the helper, then the entry node."""
        entry, helping = self.render(*routes)
        for number, tail in enumerate(tails_of([entry], POOL.spec).values()):
            name = f"cloud-{number}"
            self.rewritten["http://triton.test:8000"] = f"http://127.0.0.1:{self.port(name)}"
            slice_ = {
                "digest": tail.digest,
                "inputs": model_described(tail.inputs),
                "outputs": model_described(tail.outputs),
            }
            self.run(name, tail.name, stand_in(tail.name, slice_), wait=False)
        gate = "http://branches-gate.shop.svc.cluster.local:8080"
        self.rewritten[gate] = f"http://127.0.0.1:{self.port('gate')}"
        if helping.spec.relays:
            self.run("gate", "branches", helping.body(), wait=False)
        self.run("cam", "branches", entry.body(), wait=False)
        for name in self.running:
            wait_until(lambda name=name: self.ready(name), f"{name} to be ready")

    def port(self, name: str) -> int:
        while name not in self.ports:
            port = next(_PORTS)
            with socket.socket() as free, suppress(OSError):
                free.bind(("127.0.0.1", port))
                self.ports[name] = port
        return self.ports[name]

    def run(
        self,
        name: str,
        service: str,
        placement: Document | None = None,
        *,
        wait: bool = True,
        store: str | None = None,
    ) -> None:
        """Starts a runtime, or starts it again with the placement that it had."""
        if placement is not None:
            text = json.dumps({**placement, "metadata": {**placement["metadata"], "generation": 1}})
            for before, behind in self.rewritten.items():
                text = text.replace(before, behind)
            self.placements[name] = json.loads(text)
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(self.placements[name]))
        argv = ["run", "--service", service, "--namespace", "shop", "--node", name]
        argv += ["--store", store or self.store.url, "--cache-dir", str(self.folder / name)]
        argv += ["--threads", "1"]
        argv += ["--host", "127.0.0.1", "--http-port", str(self.port(name))]
        argv += ["--grpc-port", str(self.port(f"{name} grpc")), "--placement-file", str(file)]
        arguments = _parser().parse_args(argv)
        self.running[name] = self.stack.enter_context(ExitStack())
        self.running[name].enter_context(in_thread(lambda stop: serve(arguments, stop, drain=0.0)))
        if wait:
            wait_until(lambda: self.ready(name), f"{name} to be ready")

    def stop(self, name: str) -> None:
        """Its port refuses from now on."""
        self.running[name].close()

    def ready(self, name: str) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url(name)}/v2/health/ready").status_code == 200
        return False

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port(name)}"

    def ask(self, name: str = "cam", model: str = "branches", **tensors: Any) -> httpx.Response:
        """One request in JSON, by default for the image at the entry node."""
        given = tensors or {"image": IMAGE}
        inputs = [
            {
                "name": n,
                "shape": list(a.shape),
                "datatype": {"f4": "FP32", "f2": "FP16", "u1": "UINT8"}[a.dtype.str[1:]],
                "data": a.ravel().tolist(),
            }
            for n, a in given.items()
        ]
        return httpx.post(f"{self.url(name)}/v2/models/{model}/infer", json={"inputs": inputs}, timeout=20)

    def answer(self, route: str, within: float = 20.0) -> np.ndarray[Any, Any]:
        """The logits by a route, as soon as it is the one that answers."""
        seen: list[str] = []

        def answered() -> bool:
            reply = self.ask().json()
            seen.append(reply["parameters"]["route"])
            if seen[-1] == route:
                seen.append(json.dumps(reply["outputs"][0]["data"]))
                return True
            return False

        wait_until(answered, f"an answer by {route}, not {seen[-3:]}", within)
        return np.array(json.loads(seen[-1]), np.float32).reshape(-1, 3)

    def composed(self, model: str = "cam", index: int = 0) -> np.ndarray[Any, Any]:
        """What the slices of a route give one after the other."""
        values = {"image": IMAGE}
        for stage in self.placements[model]["spec"]["routes"][index]["stages"]:
            data = self.store.blob(stage["slice"]["digest"])
            session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
            names = [t["name"] for t in stage["slice"]["outputs"]]
            feeds = {t["name"]: values[t["name"]] for t in stage["slice"]["inputs"]}
            values = dict(zip(names, session.run(names, feeds), strict=True))
        (output,) = values.values()
        return np.asarray(output)


@contextmanager
def in_thread(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """Runs in a loop of its own until the block ends and sets its event."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def body() -> None:
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop))
        await main(stop)

    def work() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(body())

    thread = threading.Thread(target=work)
    thread.start()
    loop, stop = started.result(30)
    try:
        yield
    finally:
        with suppress(RuntimeError):  # it ended by itself
            loop.call_soon_threadsafe(stop.set)
        thread.join(30)


def wait_until(condition: Any, what: str, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"waited {within} s for {what}"
        time.sleep(0.05)


def model_described(tensors: Any) -> list[Document]:
    return [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in tensors]


def stand_in(name: str, slice_: Document) -> Document:
    """A placement by which a runtime serves one slice, as Triton serves a tail."""
    stage = {"place": "cloud", "runtime": "Edge", "slice": slice_}
    route = {
        "name": "tail@local", "exit": "tail", "cut": "local", "accuracy": 1, "minBandwidth": 0,
        "predictedLatency": "1ms", "stages": [stage],
    }  # fmt: skip
    model = {"digest": slice_["digest"], "inputs": slice_["inputs"], "output": slice_["outputs"][0]}
    spec = {
        "service": name, "node": "cloud", "mode": "LocalOnly", "model": model, "slo": {"latency": "5s"},
        "routes": [route],
    }  # fmt: skip
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


@pytest.fixture
def runtimes(store_url: str, tmp_path: Path) -> Iterator[Runtimes]:
    with ExitStack() as stack:
        connections = stack.enter_context(httpx.Client())
        connections.put(f"{store_url}/v1/files/branches.onnx", content=branches()).raise_for_status()
        client = ModelStore(store_url, connections)
        yield Runtimes(client, client.register(SERVICE.spec.model), tmp_path, stack)


@pytest.fixture(scope="module")
def whole() -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(branches(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"image": IMAGE})[0])


def by_way_of(codec: str, second: str | None = "joined") -> Route:
    """From the two small tensors on at the helper; behind the second cut at Triton."""
    return Route(
        "final", "left+right", 0.95, 0 if second is None else 1000, 0.0, 0.05, 0.001, 0.001, 96,
        codec, "gate", second, 0.001,
    )  # fmt: skip


def test_a_card_lists_the_cut_of_two_tensors_where_fewer_bytes_cross_than_before(runtimes: Runtimes) -> None:
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


@pytest.mark.parametrize("codec", ["fp32", "fp16", "int8"])
def test_two_tensors_cross_to_triton_in_every_codec(
    runtimes: Runtimes, whole: np.ndarray[Any, Any], codec: str
) -> None:
    route = Route("final", "left+right", 0.95, 1000, 0.0, 0.05, 0.001, 0.001, 96, codec)
    runtimes.start(route)
    found = runtimes.answer(route.name)
    np.testing.assert_allclose(found, runtimes.composed(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, whole, atol=2e-2 * np.ptp(whole))


def test_an_encoded_input_goes_out_from_a_head_that_does_nothing_else(
    runtimes: Runtimes, whole: np.ndarray[Any, Any]
) -> None:
    route = Route("final", "image", 0.95, 1000, 0.0, 0.05, None, 0.001, 96, "int8")
    runtimes.start(route)
    np.testing.assert_allclose(runtimes.answer(route.name), whole, atol=3e-2 * np.ptp(whole))


def test_triton_is_told_of_encoded_tensors_by_the_names_that_cross(runtimes: Runtimes) -> None:
    entry, _ = runtimes.render(Route("final", "left+right", 0.95, 1000, 0.0, 0.05, 0.001, 0.001, 9, "int8"))
    (tail,) = tails_of([entry], POOL.spec).values()
    config = model_config(tail)
    assert config["input"][0] == {"name": "left:int8", "data_type": "TYPE_UINT8", "dims": [-1, 2]}
    assert config["input"][1] == {"name": "left:int8.scale", "data_type": "TYPE_FP32", "dims": [-1, 1]}
    assert [entry["name"] for entry in config["input"]][3:] == [
        "right:int8", "right:int8.scale", "right:int8.zero",
    ]  # fmt: skip


def test_a_dead_helper_costs_no_request_and_is_used_again_when_it_is_back(
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


def test_what_stands_in_for_a_hop_decodes_the_activation_that_was_to_be_sent(
    runtimes: Runtimes, whole: np.ndarray[Any, Any]
) -> None:
    route = by_way_of("int8", None)
    runtimes.start(route)
    runtimes.answer(route.name)
    cover = runtimes.store.slice(runtimes.card.digest, ["left", "right"], ["logits"], "int8")
    kept = runtimes.folder / "cam" / "slices" / cover.digest.removeprefix("sha256:")
    wait_until(kept.is_file, "the slice behind the activation")
    runtimes.stop("gate")
    replies = [runtimes.ask().json() for _ in range(3)]
    stood_in = [r for r in replies if r["parameters"]["exit"] == "final"]
    assert stood_in, replies
    found = np.array(stood_in[0]["outputs"][0]["data"], np.float32).reshape(-1, 3)
    np.testing.assert_allclose(found, whole, atol=2e-2 * np.ptp(whole))


def test_a_helper_answers_while_the_link_to_triton_is_down(
    runtimes: Runtimes, whole: np.ndarray[Any, Any]
) -> None:
    across, near = by_way_of("fp32"), by_way_of("fp32", None)
    runtimes.rewritten[f"{runtimes.store.url}/v1/probe"] = "http://127.0.0.1:9/v1/probe"
    runtimes.start(across, near)
    np.testing.assert_allclose(runtimes.answer(near.name), whole, atol=1e-5)


def test_a_relay_whose_next_hop_is_dead_says_503_and_the_entry_node_answers_itself(
    runtimes: Runtimes,
) -> None:
    route = by_way_of("fp32")
    runtimes.start(route)
    runtimes.answer(route.name)
    runtimes.stop("cloud-0")
    relay = runtimes.placements["gate"]["spec"]["relays"][0]["model"]
    half = np.zeros((1, 2), np.float32)
    reply = runtimes.ask("gate", relay, left=half, right=half)
    assert reply.status_code == 503
    assert "cloud" in reply.json()["error"]
    for _ in range(5):
        assert runtimes.ask().status_code == 200


def test_a_relay_takes_only_what_its_slice_does(runtimes: Runtimes) -> None:
    runtimes.start(by_way_of("int8"))
    relay = runtimes.placements["gate"]["spec"]["relays"][0]["model"]
    parts: Document = {}
    for side in ("left", "right"):
        parts[f"{side}:int8"] = np.zeros((1, 2), np.uint8)
        parts[f"{side}:int8.scale"] = np.ones((1, 1), np.float32)
        parts[f"{side}:int8.zero"] = np.zeros((1, 1), np.uint8)
    assert runtimes.ask("gate", relay, **parts).status_code == 200
    wrong: list[tuple[Document, str]] = [
        ({**parts, "left:int8": np.zeros((1, 3), np.uint8)}, "left:int8"),
        ({**parts, "left:int8": np.zeros((1, 2), np.float32)}, "left:int8"),
        ({n: a for n, a in parts.items() if n != "right:int8.zero"}, "right:int8.zero"),
        ({**parts, "image": IMAGE}, "image"),
    ]
    for tensors, word in wrong:
        reply = runtimes.ask("gate", relay, **tensors)
        assert reply.status_code == 400, word
        assert word in reply.json()["error"]
    unknown = runtimes.ask("gate", "branches-relay-0000000000", **parts)
    assert (unknown.status_code, "is not served here" in unknown.json()["error"]) == (404, True)
    assert runtimes.ask("cam", relay, **parts).status_code == 404


def test_a_relay_is_a_model_of_the_protocol_beside_the_service(runtimes: Runtimes) -> None:
    runtimes.start(by_way_of("fp16"))
    relay = runtimes.placements["gate"]["spec"]["relays"][0]["model"]
    url = runtimes.url("gate")
    index = httpx.post(f"{url}/v2/repository/index", json={}).json()
    assert [entry["name"] for entry in index] == ["branches", relay]
    metadata = httpx.get(f"{url}/v2/models/{relay}").json()
    assert metadata["inputs"] == [
        {"name": "left:fp16", "datatype": "FP16", "shape": [-1, 2]},
        {"name": "right:fp16", "datatype": "FP16", "shape": [-1, 2]},
    ]
    assert metadata["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]
    assert httpx.get(f"{url}/v2/models/{relay}/ready").json()["ready"] is True


def test_a_relay_without_time_left_does_not_ask_the_next_hop(runtimes: Runtimes) -> None:
    runtimes.start(by_way_of("fp32"))
    relay = runtimes.placements["gate"]["spec"]["relays"][0]["model"]
    half = {"shape": [1, 2], "datatype": "FP32", "data": [0.0, 0.0]}
    asked = {
        "inputs": [{"name": "left", **half}, {"name": "right", **half}],
        "parameters": {"timeout": 1},
    }
    reply = httpx.post(f"{runtimes.url('gate')}/v2/models/{relay}/infer", json=asked)
    assert reply.status_code == 503


def test_a_relay_serves_again_from_its_disk_while_the_store_is_out_of_reach(
    runtimes: Runtimes, whole: np.ndarray[Any, Any]
) -> None:
    route = by_way_of("int8", None)
    runtimes.start(route)
    runtimes.answer(route.name)
    runtimes.stop("gate")
    runtimes.run("gate", "branches", store="http://127.0.0.1:9")
    np.testing.assert_allclose(runtimes.answer(route.name, 30), whole, atol=2e-2 * float(np.ptp(whole)))


def test_a_relays_hops_are_in_the_metrics_of_its_node(runtimes: Runtimes) -> None:
    route = by_way_of("fp32")
    runtimes.start(route)
    runtimes.answer(route.name)
    runtimes.stop("cloud-0")
    half = np.zeros((1, 2), np.float32)
    relay = runtimes.placements["gate"]["spec"]["relays"][0]["model"]
    assert runtimes.ask("gate", relay, left=half, right=half).status_code == 503
    metrics = httpx.get(f"{runtimes.url('gate')}/metrics").text
    lines = [line for line in metrics.splitlines() if line.startswith("edge_hop_duration_seconds_count")]
    found = {line.split('outcome="')[1].split('"')[0] for line in lines if f'route="{relay}"' in line}
    assert found == {"ok", "failed"}
    assert f'route="{relay}"' not in "".join(
        line for line in metrics.splitlines() if line.startswith("edge_request_duration_seconds")
    )
