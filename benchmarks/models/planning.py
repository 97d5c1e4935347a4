"""What the operator does with a file: metadata, measurements, plans and Placements, by its own functions."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.models.catalogue import ModelFile
from benchmarks.models.servers import NAMESPACE, NODE
from edge_api import DevicePool, InferenceService, Placement
from edge_api.inferenceservices import Mode
from edge_operator.pool import manifests, rendering, shape_costs, shapes
from edge_operator.pool.branches import with_branch_cuts
from edge_operator.pool.results import Ready
from edge_operator.pool_nodes import Node, PoolMember
from edge_operator.store import ModelStore
from edge_operator.store_answers import DeviceProfile, ModelCard
from edge_operator.tritons.residency import tails_of
from edge_operator.tritons.tail_models import Tail
from edge_planning import EntryProblem, Infeasible, plan_entry
from edge_planning.plans import RouteTable
from edge_runtime import model_store
from edge_runtime.connections import Resolver
from edge_runtime.profiling import profile_device

MODES: Final[tuple[Mode, ...]] = ("LocalOnly", "PartitionOnly", "CloudOnly")
_ENTRY, _CLOUD = "camera", "cloud"
_FASTER: Final = 0.05
"""Compute time in the cloud, as a share of that at the entry node: a tail is worth its hop."""
_SECONDS: Final = 0.02
_SLO: Final = "60s"  # a machine that runs other programs still meets it
_BANDWIDTH, _RTT = 1e9, 0.0002
_MEMBER: Final = PoolMember(Node(NODE, {}, ready=True), _ENTRY, "Device")
SAMPLES: Final = "samples.npz"


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
    """The manifest of a service with nothing but what every service needs, and samples of its requests."""
    spec = {
        "model": {
            "storageUri": f"store://{model.name}/{model.path.name}",
            "samples": {"storageUri": f"store://{model.name}/{SAMPLES}"},
        },
        "slo": {"latency": _SLO},
        "devicePool": "factory",
        "mode": mode,
    }
    name = f"{model.name}-{mode.lower()}"
    return InferenceService.model_validate(
        {"metadata": {"name": name, "namespace": NAMESPACE, "uid": "u-1"}, "spec": spec}
    )


class Operator:
    """The operator's functions around one model store."""

    def __init__(self, store_url: str, pool: DevicePool) -> None:
        self._pool, self._client = pool, httpx.Client(timeout=120.0)
        self.store = ModelStore(store_url, self._client, namespace=NAMESPACE)

    def register(self, model: ModelFile, samples: Path) -> ModelCard:
        """Uploads the file, the data beside it and the samples; returns the store's metadata."""
        for path in (model.path, model.path.with_name(f"{model.path.name}.data"), samples):
            if path.exists():
                url = f"{self.store.url}/v1/files/{model.name}/{path.name}"
                self._client.put(url, content=path.read_bytes()).raise_for_status()
        return self.store.register(service(model, "LocalOnly").spec.model)

    def measure(self, card: ModelCard) -> Ready:
        """Measures the model as the profiling Job does; the cloud is assumed to be faster.

        Raises RuntimeError with the reason if the model cannot be measured.
        """
        entry = DeviceProfile.model_validate(asyncio.run(self._profile(card)))
        if card.unknown_sizes or entry.refused:
            raise RuntimeError(entry.refused or card.local)
        costs = {_ENTRY: entry, _CLOUD: _faster(entry)}
        card, split = with_branch_cuts(card, costs, self.store.layers(card.digest), [(_ENTRY, _CLOUD)])
        planned = shapes.planned_shape(card, {}, 95.0)
        if planned is None:
            return Ready(card, split, None, self._pool, recorded=False)
        at = {name: shapes.profile_at(each, planned.shape) for name, each in split.items()}
        return Ready(shapes.card_at(card, planned.shape), at, None, self._pool, False, planned, split)  # noqa: FBT003

    async def _profile(self, card: ModelCard) -> dict[str, Any]:
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
            )
        finally:
            client.close()

    def plan(self, model: ModelFile, ready: Ready, mode: Mode) -> RouteTable | Infeasible:
        """Returns the route table of a mode at the entry node, or why the mode has no table."""
        found = plan_entry(_problem(model, ready, mode))
        return found if isinstance(found, Infeasible) else found.table

    def place(self, model: ModelFile, ready: Ready, mode: Mode, table: RouteTable) -> Placement:
        """Returns the Placement of the entry node; the store cuts its slices."""
        one = service(model, mode)
        keys = rendering.needed_slices(ready.card, [table])
        made = rendering.placement(
            one.body(),
            one.spec,
            _MEMBER,
            self._pool.spec,
            card=ready.card,
            table=table,
            slices={key: self.store.slice(*key) for key in keys},
            server=self._pool.spec.triton_servers[0],
            rtt=_RTT,
        )
        return shape_costs.with_shapes(made, table, ready, _problem(model, ready, mode))

    def tails(self, placements: list[Placement]) -> Iterator[dict[str, Any]]:
        """The Placements by which a runtime serves the tails in place of Triton."""
        return map(_stand_in, tails_of(placements, self._pool.spec, "ours").values())

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


def _problem(model: ModelFile, ready: Ready, mode: Mode) -> EntryProblem:
    return manifests.entry_problem(
        service(model, mode).spec,
        manifests.planned_model(model.name, ready.card),
        ready.costs,
        _MEMBER,
        remote=_CLOUD,
        peer="cloud",
        rtt=_RTT,
        bandwidth=_BANDWIDTH,
    )


def _faster(profile: DeviceProfile) -> DeviceProfile:
    segments = tuple(s.model_copy(update=_shorter(s.mean_seconds, s.p95_seconds)) for s in profile.segments)
    exits = tuple(e.model_copy(update=_shorter(e.mean_seconds, e.p95_seconds)) for e in profile.exits)
    shaped = tuple(
        each.model_copy(
            update={
                "segments": tuple(
                    s.model_copy(update=_shorter(s.mean_seconds, s.p95_seconds)) for s in each.segments
                ),
                "exits": tuple(
                    e.model_copy(update=_shorter(e.mean_seconds, e.p95_seconds)) for e in each.exits
                ),
            }
        )
        for each in profile.shapes
    )
    changed = {"device_class": _CLOUD, "segments": segments, "exits": exits, "shapes": shaped}
    return profile.model_copy(update=changed)


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
