"""What the operator does with a file: metadata, measurements, plans and Placements, by its own functions."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.models.catalogue import ModelFile
from benchmarks.models.servers import NAMESPACE, NODE
from edge_api import DevicePool, InferenceService, Placement
from edge_api.inferenceservices import Mode
from edge_operator.pool import manifests, rendering
from edge_operator.pool.branches import with_branch_cuts
from edge_operator.pool_nodes import Node, PoolMember
from edge_operator.store import DeviceProfile, ModelCard, ModelStore
from edge_operator.tritons.residency import tails_of
from edge_operator.tritons.tail_models import Tail
from edge_planning import Infeasible, plan_entry
from edge_planning.plans import RouteTable
from edge_runtime import model_store
from edge_runtime.connections import Resolver
from edge_runtime.profiling import profile_device
from edge_runtime.samples.flags import Given

MODES: Final[tuple[Mode, ...]] = ("LocalOnly", "PartitionOnly", "CloudOnly")
_ENTRY, _CLOUD = "camera", "cloud"
_FASTER: Final = 0.05
"""Compute time in the cloud, as a share of that at the entry node: a tail is worth its hop."""
_SECONDS: Final = 0.02
_SLO: Final = "60s"  # a machine that runs other programs still meets it
_BANDWIDTH, _RTT = 1e9, 0.0002


def pool(triton: str) -> DevicePool:
    """A pool of cameras, with a Triton server at an address."""
    cameras = {"tier": "Device", "deviceClass": _ENTRY, "nodeSelector": {"class": "camera"}}
    server = {
        "name": "cloud",
        "httpAddress": triton,
        "deviceClass": _CLOUD,
        "nodeSelector": {"class": "cloud"},
    }
    spec = {"nodes": [cameras], "tritonServers": [server], "links": {"probeInterval": "500ms"}}
    return DevicePool.model_validate({"metadata": {"name": "factory"}, "spec": spec})


def service(model: ModelFile, mode: Mode) -> InferenceService:
    """The manifest of a service with nothing but what every service needs."""
    spec = {
        "model": {"storageUri": f"store://{model.name}/{model.path.name}"},
        "slo": {"latency": _SLO},
        "devicePool": "factory",
        "mode": mode,
    }
    name = f"{model.name}-{mode.lower()}"
    return InferenceService.model_validate(
        {"metadata": {"name": name, "namespace": NAMESPACE, "uid": "u-1"}, "spec": spec}
    )


@dataclass(frozen=True, slots=True)
class Known:
    """A file's metadata and its measurements by device class, both with cuts in branches."""

    card: ModelCard
    costs: Mapping[str, DeviceProfile]


class Operator:
    """The operator's functions around one model store."""

    def __init__(self, store_url: str, pool: DevicePool) -> None:
        self._pool, self._client = pool, httpx.Client(timeout=120.0)
        self.store = ModelStore(store_url, self._client, namespace=NAMESPACE)

    def register(self, model: ModelFile) -> ModelCard:
        """Uploads the file, with the data beside it, and returns the store's metadata."""
        for path in (model.path, model.path.with_name(f"{model.path.name}.data")):
            if path.exists():
                url = f"{self.store.url}/v1/files/{model.name}/{path.name}"
                self._client.put(url, content=path.read_bytes()).raise_for_status()
        return self.store.register(service(model, "Auto").spec.model)

    def measure(self, card: ModelCard, samples: Path) -> Known:
        """Measures the model on samples as the profiling Job does; the cloud is assumed to be faster."""
        document = asyncio.run(self._profile(card, samples))
        entry = DeviceProfile.model_validate(document)
        costs = {_ENTRY: entry, _CLOUD: _faster(entry)}
        card, split = with_branch_cuts(card, costs, self.store.layers(card.digest), [(_ENTRY, _CLOUD)])
        return Known(card, split)

    async def _profile(self, card: ModelCard, samples: Path) -> dict[str, Any]:
        client = model_store.ModelStore(self.store.url, Resolver())
        try:
            return await profile_device(
                client,
                card.digest,
                _ENTRY,
                NODE,
                selection="",
                seconds=_SECONDS,
                progress=lambda _: None,
                given=Given(samples=samples),
            )
        finally:
            client.close()

    def plan(self, model: ModelFile, known: Known, mode: Mode) -> RouteTable | Infeasible:
        """Returns the route table of a mode at the entry node, or why there is none."""
        found = plan_entry(
            manifests.entry_problem(
                service(model, mode).spec,
                manifests.planned_model(model.name, known.card),
                known.costs,
                PoolMember(Node(NODE, {}, ready=True), _ENTRY, "Device"),
                remote=_CLOUD,
                peer="cloud",
                rtt=_RTT,
                bandwidth=_BANDWIDTH,
            )
        )
        return found if isinstance(found, Infeasible) else found.table

    def place(self, model: ModelFile, known: Known, mode: Mode, table: RouteTable) -> Placement:
        """Returns the Placement of the entry node; the store cuts its slices."""
        one = service(model, mode)
        keys = rendering.needed_slices(known.card, [table])
        return rendering.placement(
            one.body(),
            one.spec,
            PoolMember(Node(NODE, {}, ready=True), _ENTRY, "Device"),
            self._pool.spec,
            card=known.card,
            table=table,
            slices={key: self.store.slice(*key) for key in keys},
            server=self._pool.spec.triton_servers[0],
            rtt=_RTT,
        )

    def tails(self, placements: list[Placement]) -> Iterator[dict[str, Any]]:
        """The Placements by which a runtime serves the tails in place of Triton."""
        return map(_stand_in, tails_of(placements, self._pool.spec, "ours").values())

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


def _faster(profile: DeviceProfile) -> DeviceProfile:
    segments = tuple(s.model_copy(update=_shorter(s.mean_seconds, s.p95_seconds)) for s in profile.segments)
    exits = tuple(e.model_copy(update=_shorter(e.mean_seconds, e.p95_seconds)) for e in profile.exits)
    return profile.model_copy(update={"device_class": _CLOUD, "segments": segments, "exits": exits})


def _shorter(mean: float, p95: float) -> dict[str, float]:
    return {"mean_seconds": mean * _FASTER, "p95_seconds": p95 * _FASTER}


def _stand_in(tail: Tail) -> dict[str, Any]:
    inputs, outputs = (
        [t.model_dump(by_alias=True, exclude_none=True, mode="json") for t in each]
        for each in (tail.inputs, tail.outputs)
    )
    slice_ = {"digest": tail.digest, "inputs": inputs, "outputs": outputs}
    route = {
        "name": "tail@local", "exit": "tail", "cut": "local", "accuracy": 1, "minBandwidth": "0",
        "predictedLatency": "1ms", "stages": [{"place": "cloud", "runtime": "Edge", "slice": slice_}],
    }  # fmt: skip
    spec = {
        "service": tail.name, "node": "cloud", "mode": "LocalOnly", "slo": {"latency": _SLO},
        "model": {"digest": tail.digest, "inputs": inputs, "outputs": outputs}, "routes": [route],
    }  # fmt: skip
    return {"metadata": {"name": tail.name, "namespace": NAMESPACE}, "spec": spec}
