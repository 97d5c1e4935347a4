"""Runtimes on this machine with placements rendered by the operator: an entry node, its intermediate node,
and one in place of Triton. Their model has a cut of two tensors.
"""

import itertools
import json
import os
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import onnxruntime
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import helper, numpy_helper

from edge_api import DevicePool, InferenceService, Placement
from edge_api.devicepools import TritonServer
from edge_operator.pool import relaying, rendering
from edge_operator.pool_nodes import Node, PoolMember
from edge_operator.store import ModelStore
from edge_operator.store_answers import ModelCard
from edge_operator.tritons.residency import tails_of
from edge_planning.plans import Route, RouteTable
from edge_runtime.cli import _parser
from edge_runtime.server import run as serve
from loops import in_thread
from networks import info, model_of

Document = dict[str, Any]
IMAGE = np.random.default_rng(5).normal(size=(3, 8)).astype(np.float32)
_PORTS = itertools.count(17000 + os.getpid() % 2000)

POOL = DevicePool.model_validate(
    {
        "metadata": {"name": "factory"},
        "spec": {
            "nodes": [
                {"tier": "Device", "deviceClass": "camera", "nodeSelector": {"class": "camera"}},
                {"tier": "Edge", "deviceClass": "gateway", "nodeSelector": {"class": "gateway"}},
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


def branches(*, quantised: bool = False) -> bytes:
    """image -> left, right (two small tensors) -> joined -> logits, and an early exit before all of that.

    The weights behind the cuts are integers if the argument is True.
    """
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
    if quantised:
        for weight in [w for w in weights if w.name in ("wj", "wo")]:
            weights.remove(weight)
            steps = np.clip(np.rint(numpy_helper.to_array(weight) / 0.02), -127, 127).astype(np.int8)
            parts = [f"{weight.name}.{part}" for part in ("steps", "scale")]
            weights += [numpy_helper.from_array(steps, parts[0])]
            weights += [numpy_helper.from_array(np.array(0.02, np.float32), parts[1])]
            nodes.insert(0, helper.make_node("DequantizeLinear", parts, [weight.name]))
    exits = [
        {"name": "early", "output": "early_logits", "accuracy": 0.8},
        {"name": "final", "output": "logits", "accuracy": 0.95},
    ]
    outputs = [info(n, "N", 3) for n in ("early_logits", "logits")]
    return model_of(nodes, [info("image", "N", 8)], outputs, weights, exits)


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
    server: TritonServer = POOL.spec.triton_servers[0]
    flags: tuple[str, ...] = ()
    """Further flags of all runtimes."""

    def render(self, *routes: Route) -> tuple[Placement, Placement]:
        """The final tables of the entry node and of its intermediate node, as the operator publishes them."""
        local = Route(self.card.exits[0].name, None, 0.8, 0, 0.0, 0.01, 0.001, None, 0)
        entry, intermediate = (RouteTable((*r, local), 0.9, 0.0) for r in (routes, ()))
        slices = {
            key: self.store.slice(*key) for key in rendering.needed_slices(self.card, [entry, intermediate])
        }
        members = [
            PoolMember(Node("cam", {}, ready=True), "camera", "Device"),
            PoolMember(Node("gate", {}, ready=True), "gateway", "Edge"),
        ]
        first, second = (
            rendering.placement(
                SERVICE.body(),
                SERVICE.spec,
                member,
                POOL.spec,
                card=self.card,
                table=table,
                slices=slices,
                server=self.server,
                rtt=0.001,
            )
            for member, table in zip(members, (entry, intermediate), strict=True)
        )
        needed = relaying.intermediate_slices([first])
        return first, relaying.with_intermediate_slices(second, needed.get("gate", {}))

    def start(self, *routes: Route) -> None:
        """Starts a runtime in place of Triton for each tail, the intermediate node, then the entry node."""
        entry, intermediate = self.render(*routes)
        for number, tail in enumerate(tails_of([entry], POOL.spec, "ours").values()):
            name = f"cloud-{number}"
            self.rewritten["http://triton.test:8000"] = f"http://127.0.0.1:{self.port(name)}"
            slice_ = {
                "digest": tail.digest,
                "inputs": model_described(tail.inputs),
                "outputs": model_described(tail.outputs),
            }
            self.run(name, tail.name, stand_in(tail.name, slice_), wait=False)
        gate = "http://edge-runtime-gate.shop.svc.cluster.local:8080"
        self.rewritten[gate] = f"http://127.0.0.1:{self.port('gate')}"
        if intermediate.spec.intermediate_slices:
            self.run("gate", "branches", intermediate.body(), wait=False)
        self.run("cam", "branches", entry.body(), wait=False)
        for name in self.running:
            self.wait(name)

    def sessions(self, name: str) -> float:
        """The number of slices that a runtime has loaded."""
        text = httpx.get(f"http://127.0.0.1:{self.port(name)}/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("edge_sessions{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

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
        """Starts a runtime, or restarts it with its placement."""
        file = self.publish(name, placement or self.placements[name])
        argv = ["run", "--service", service, "--namespace", "shop", "--node", name]
        argv += ["--store", store or self.store.url, "--cache-dir", str(self.folder / name)]
        argv += ["--threads", "1"]
        argv += ["--host", "127.0.0.1", "--http-port", str(self.port(name))]
        argv += ["--grpc-port", str(self.port(f"{name} grpc")), "--placement-file", str(file), *self.flags]
        arguments = _parser().parse_args(argv)
        self.running[name] = self.stack.enter_context(ExitStack())
        self.running[name].enter_context(in_thread(lambda stop: serve(arguments, stop, drain=0.0)))
        if wait:
            self.wait(name)

    def publish(self, name: str, placement: Document, generation: int = 1) -> Path:
        """Writes the file from which a runtime reads its placement."""
        text = json.dumps({**placement, "metadata": {**placement["metadata"], "generation": generation}})
        for before, behind in self.rewritten.items():
            text = text.replace(before, behind)
        self.placements[name] = json.loads(text)
        file = self.folder / f"{name}.json"
        file.write_text(text)
        return file

    def stop(self, name: str) -> None:
        """Makes its port refuse connections."""
        self.running[name].close()

    def wait(self, name: str) -> None:
        """Waits until it says that it is ready."""
        options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port(f'{name} grpc')}", options) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # the stubs leave out Watch
            watch = stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=60)
            for said in watch:
                if said.status == health_pb2.HealthCheckResponse.SERVING:
                    return
        raise AssertionError(f"{name} did not become ready")

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port(name)}"

    def ask(self, name: str = "cam", model: str = "branches", **tensors: Any) -> httpx.Response:
        """One request in JSON, by default for the image at the entry node."""
        given = tensors or {"image": IMAGE}
        inputs = [
            {
                "name": n,
                "shape": list(a.shape),
                "datatype": {"f4": "FP32", "f2": "FP16", "u1": "UINT8", "i8": "INT64"}[a.dtype.str[1:]],
                "data": a.ravel().tolist(),
            }
            for n, a in given.items()
        ]
        return httpx.post(f"{self.url(name)}/v2/models/{model}/infer", json={"inputs": inputs}, timeout=20)

    def answer(self, route: str, within: float = 60.0) -> np.ndarray[Any, Any]:
        """The logits of a route, as soon as it is the active one."""
        deadline, seen = time.monotonic() + within, ""
        while seen != route:
            assert time.monotonic() < deadline, f"{seen} answers, not {route}"
            reply = self.ask().json()
            seen = reply["parameters"]["route"]
        return np.array(reply["outputs"][0]["data"], np.float32).reshape(-1, 3)

    def composed(self, model: str = "cam", index: int = 0) -> np.ndarray[Any, Any]:
        """The result of running the slices of a route one by one."""
        values = {"image": IMAGE}
        for stage in self.placements[model]["spec"]["routes"][index]["stages"]:
            with self.store.blob(stage["slice"]["digest"]) as blob:
                data = b"".join(blob.chunks)
            session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
            names = [t["name"] for t in stage["slice"]["outputs"]]
            feeds = {t["name"]: values[t["name"]] for t in stage["slice"]["inputs"]}
            values = dict(zip(names, session.run(names, feeds), strict=True))
        (output,) = values.values()
        return np.asarray(output)


def model_described(tensors: Any) -> list[Document]:
    return [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in tensors]


def stand_in(name: str, slice_: Document) -> Document:
    """A placement by which a runtime serves one slice, as Triton serves a tail."""
    stage = {"place": "cloud", "runtime": "Edge", "slice": slice_}
    route = {
        "name": "tail@local", "exit": "tail", "cut": "local", "accuracy": 1, "minBandwidth": "0",
        "predictedLatency": "1ms", "stages": [stage],
    }  # fmt: skip
    model = {"digest": slice_["digest"], "inputs": slice_["inputs"], "outputs": slice_["outputs"]}
    spec = {
        "service": name, "node": "cloud", "mode": "LocalOnly", "model": model, "slo": {"latency": "5s"},
        "routes": [route],
    }  # fmt: skip
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}
