"""Placements of small models whose slices are in a node's cache, and the services that serve them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from edge_api.names import placement_name
from edge_runtime.autonomy import LastContact
from edge_runtime.connections import Resolver
from edge_runtime.errors import NotFound, Unreachable
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.node_services import NodeServices
from edge_runtime.placed_services import PlacedService, Statuses
from edge_runtime.requests import InferenceRequest
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.slice_loading import SliceLoader
from networks import info, model_of

Document = dict[str, Any]
NODE = "edge-a"
NOWHERE = "http://127.0.0.1:1"


def adding(number: float) -> bytes:
    """A model that adds a number to its four inputs."""
    weights = [numpy_helper.from_array(np.array([number], np.float32), "number")]
    nodes = [helper.make_node("Add", ["x", "number"], ["y"])]
    return model_of(nodes, [info("x", "batch", 4)], [info("y", "batch", 4)], weights)


class SmallStore(ModelStore):
    """A model store in memory that counts its transfers. It cannot be reached while it is `away`.

    lost: digests that it does not find. asked: number of requests for blobs.
    """

    def __init__(self, *models: bytes) -> None:
        super().__init__(NOWHERE)
        self._slices = {f"sha256:{hashlib.sha256(model).hexdigest()}": model for model in models}
        self.sent: list[str] = []
        self.away = False
        self.lost = set[str]()
        self.asked = 0

    @property
    def digests(self) -> list[str]:
        """Of its models, in the order given."""
        return list(self._slices)

    async def blob(self, digest: str) -> bytes:
        self.asked += 1
        if self.away:
            raise Unreachable("model store: it is away")
        if digest not in self._slices or digest in self.lost:
            raise NotFound(f"model store: {digest} is not stored")
        self.sent.append(digest)
        return self._slices[digest]


def placement(service: str, digest: str, *, name: str = "", generation: int = 1, **spec: Any) -> Document:
    """A table with one local route."""
    x, y = ({"name": n, "datatype": "FP32", "shape": [-1, 4]} for n in ("x", "y"))
    slice_ = {"digest": digest, "inputs": [x], "outputs": [y]}
    route = {
        "name": "final@local",
        "exit": "final",
        "cut": "local",
        "accuracy": 1.0,
        "minBandwidth": "0",
        "predictedLatency": "1ms",
        "stages": [{"place": NODE, "runtime": "Edge", "slice": slice_}],
    }
    return {
        "metadata": {
            "name": name or placement_name(service, NODE),
            "namespace": "default",
            "generation": generation,
        },
        "spec": {
            "service": service,
            "node": NODE,
            "model": {"digest": digest, "inputs": [x], "outputs": [y]},
            "slo": {"latency": "1s"},
            "routes": [route],
            **spec,
        },
    }


def through(document: Document, address: str, probe: str = NOWHERE) -> Document:
    """The same with a route before the local one: the whole model in a Triton server behind a link."""
    spec = document["spec"]
    (local,) = spec["routes"]
    tail = local["stages"][0] | {"place": "cloud", "runtime": "Triton", "address": address, "model": "tail"}
    spec["link"] = {"peer": "cloud", "probe": probe, "interval": "10s"}
    spec["routes"] = [
        local | {"name": "final@x", "cut": "x", "minBandwidth": "1M", "stages": [tail]},
        local | {"accuracy": 0.8},
    ]
    return document


@asynccontextmanager
async def node(
    folder: Path,
    store: ModelStore,
    clock: Callable[[], float] = time.perf_counter,
    statuses: Statuses | None = None,
) -> AsyncIterator[NodeServices]:
    """The services at one node, without transports. statuses: where they report to; None: nowhere."""
    resolver = Resolver()
    loader = SliceLoader(SliceCache(folder / "slices", store), None)
    resources = NodeResources(loader, resolver, clock=clock)
    word = LastContact(folder / "last-word")

    def make(name: str, own: Path) -> PlacedService:
        return PlacedService(name, own, store, resources, word, revision=lambda other: services.find(other))

    services = NodeServices(NODE, folder / "services", make, lambda: resources.runner.stuck, statuses)
    try:
        await services.restore()
        yield services
    finally:
        await services.close()
        await resources.close()


def placed_service(services: NodeServices, name: str) -> PlacedService:
    """The service of that name at the node."""
    return next(placed for placed in services.placed if placed.name == name)


async def sum_of(services: NodeServices, service: str) -> float:
    """What a service's model adds to zeros."""
    request = InferenceRequest({"x": np.zeros((1, 4), np.float32)}, ["y"])
    response = await services.models.ask(service, request)
    return float(response.outputs[0][0, 0])


async def eventually(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - any condition of a test
            await asyncio.sleep(0.01)
