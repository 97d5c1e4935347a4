"""A model that refuses generated inputs: the runtime measures it on requests, the operator reads the times.

The model store and the measurement run in processes of their own.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from edge_api import Placement
from edge_api.first_requests import FirstRequestsStatus
from edge_api.model_sources import ModelSource
from edge_api.objects import written
from edge_operator.pool import first_requests, manifests
from edge_operator.pool_nodes import Node, PoolMember
from edge_operator.store import ModelStore
from edge_operator.store_answers import DeviceProfile, ModelCard
from edge_runtime import model_store
from edge_runtime.assignment import parse_placement
from edge_runtime.errors import InputsRefused
from edge_runtime.first_requests.kept_inputs import KeptInputs
from edge_runtime.first_requests.measurer import Measurer, StoreAccess
from edge_runtime.first_requests.turns import FirstRequests, Measures
from edge_runtime.inference.memory import Memory
from edge_runtime.tensors import Array, Tensor
from measuring import profiled
from pairs import PAIR, paired


@dataclass(frozen=True)
class Refusing:
    """The model in the store, and the profile of a Job that found that it refuses generated inputs."""

    url: str
    card: ModelCard
    refused: DeviceProfile

    @property
    def inputs(self) -> list[Tensor]:
        return [Tensor(t.name, t.datatype, tuple(t.shape)) for t in self.card.inputs]

    def kept(self, feeds: Mapping[str, Array]) -> KeptInputs:
        kept = KeptInputs()
        assert kept.add(self.inputs, feeds)
        return kept


@pytest.fixture(scope="module")
def refusing(store_url: str) -> Refusing:
    with httpx.Client() as connections:
        connections.put(f"{store_url}/v1/files/paired.onnx", content=paired()).raise_for_status()
        client = ModelStore(store_url, connections)
        card = client.register(ModelSource.model_validate({"storageUri": "store://paired.onnx"}))
    found = asyncio.run(profiled(model_store.ModelStore(store_url), card.digest, "camera"))
    return Refusing(store_url, card, DeviceProfile.model_validate(found))


@contextmanager
def measuring(refusing: Refusing) -> Iterator[Measurer]:
    measurer = Measurer(StoreAccess(refusing.url), Memory(), 1, lambda: False)
    try:
        yield measurer
    finally:
        measurer.close()


async def measured(measurer: Measures, refusing: Refusing, feeds: Mapping[str, Array]) -> dict[str, Any]:
    kept = refusing.kept(feeds)
    return await measurer.measure(refusing.card.digest, kept.shapes(), kept.file())


def test_a_profiling_job_finds_that_it_refuses_generated_inputs_and_measures_requests(
    refusing: Refusing,
) -> None:
    assert refusing.refused.refused
    assert refusing.refused.requests is not None


async def test_the_operator_reads_the_times_that_a_runtime_measured_on_a_request(refusing: Refusing) -> None:
    member = PoolMember(Node("cam", {}, ready=True), "camera")
    spec = _placement(refusing.card, "Measure")
    requests = FirstRequests(lambda: None)
    runtime = parse_placement(spec).spec
    requests.use(runtime)
    requests.add(runtime, refusing.inputs, PAIR)
    with measuring(refusing) as measurer:
        running = asyncio.create_task(requests.run(measurer))
        async with asyncio.timeout(60):
            while "profile" not in (requests.report() or {}):
                assert not (requests.report() or {})["attempts"], requests.report()
                await asyncio.sleep(0.02)
        running.cancel()
    status = FirstRequestsStatus.model_validate(requests.report())
    assert written(status) == requests.report()
    placement = Placement.model_validate(
        spec | {"status": {"loaded": True, "firstRequests": written(status)}}
    )
    found = first_requests.measured(
        refusing.card, {"camera": refusing.refused}, [member], {"cam": placement}
    )["camera"]
    assert (found.node, found.measured_on, found.requests) == ("cam", "Requests", refusing.refused.requests)
    read = manifests.of_exits(found, refusing.card)
    assert [exit_.output for exit_ in read.exits] == ["scores"]
    assert all(segment.mean_seconds > 0 for segment in read.segments)
    profile = manifests.as_written(manifests.model_profile("pairs", refusing.card, [found]))
    assert manifests.device_profiles(profile)["camera"].measured_on == "Requests"


async def test_requests_on_which_the_model_fails_are_refused(refusing: Refusing) -> None:
    with measuring(refusing) as measurer, pytest.raises(InputsRefused, match="the given inputs"):
        await measured(measurer, refusing, PAIR | {"second": PAIR["first"]})


def _placement(card: ModelCard, turn: str) -> dict[str, Any]:
    tensors = {
        "inputs": [written(t) for t in card.inputs],
        "outputs": [written(t) for t in card.outputs],
    }
    route = {
        "name": "final@local",
        "exit": "final",
        "cut": "local",
        "accuracy": 1.0,
        "minBandwidth": "0",
        "predictedLatency": "1ms",
        "stages": [
            {"place": "cam", "runtime": "Edge", "slice": {"digest": card.digest, "size": 1, **tensors}}
        ],
    }
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "Placement",
        "metadata": {"name": "pairs.cam", "namespace": "default", "generation": 1},
        "spec": {
            "service": "pairs",
            "node": "cam",
            "model": {"digest": card.digest, **tensors},
            "slo": {"latency": "1s"},
            "routes": [route],
            "firstRequests": turn,
        },
    }
