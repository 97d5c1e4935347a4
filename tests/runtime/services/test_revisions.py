"""Requests of a service are divided between two revisions of its model, each request as a whole."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_api.placements import PlacedCandidate
from edge_runtime.errors import BadRequest, BadTensor, HopFailed, ModelFailed
from edge_runtime.json_values import Json
from edge_runtime.model_statistics import ModelStatistics
from edge_runtime.node_services import NodeServices
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.revisions import RevisionedBackend, agrees
from edge_runtime.sequences.backends import SequencedBackend
from edge_runtime.tensors import Contract
from networks import info, model_of
from placed import SmallStore, adding, eventually, node, placed_service, placement, sum_of

NEW = "digits-1234abcd"
REQUEST = InferenceRequest({"x": np.zeros((1, 4), np.float32)}, ["y"])


def tables(store: SmallStore, *, generation: int = 2, **candidate: Any) -> list[Json]:
    """The tables of both revisions; the candidate adds 2 in place of 1."""
    old, new = store.digests[:2]
    placed = {"service": NEW, "digest": new} | candidate
    return [placement("digits", old, generation=generation, candidate=placed), placement(NEW, new)]


async def loaded(services: NodeServices, documents: Sequence[Json]) -> None:
    services.replace(documents)
    await eventually(
        lambda: all(
            placed_service(services, document["spec"]["service"]).generations.generation
            == document["metadata"]["generation"]
            and placed_service(services, document["spec"]["service"]).generations.loaded
            for document in documents
        )
    )


async def sums(services: NodeServices, count: int) -> Counter[float]:
    return Counter([await sum_of(services, "digits") for _ in range(count)])


async def test_requests_are_divided_by_weight_and_none_is_answered_by_a_mixture(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    async with node(tmp_path, store) as services:
        await loaded(services, tables(store, weight=30))
        count = 400
        found = await sums(services, count)
        assert set(found) == {1.0, 2.0}
        assert abs(found[2.0] - 0.3 * count) < 6 * sqrt(count * 0.3 * 0.7)
        counted = {placed.name: placed.dataplane.window.requests for placed in services.placed}
        assert counted == {"digits": found[1.0], NEW: found[2.0]}


@pytest.mark.parametrize(("weight", "answered"), [(0, 1.0), (100, 2.0)])
async def test_one_revision_answers_all_requests_at_either_end(
    tmp_path: Path, weight: int, answered: float
) -> None:
    store = SmallStore(adding(1), adding(2))
    async with node(tmp_path, store) as services:
        await loaded(services, tables(store, weight=weight))
        assert await sums(services, 30) == {answered: 30}
        response = await services.models.ask("digits", REQUEST)
        assert response.parameters.get("revision") == (NEW if weight else None)


async def test_a_candidate_with_another_model_loaded_is_not_used(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    async with node(tmp_path, store) as services:
        await loaded(services, tables(store, weight=100, digest="sha256:" + "0" * 64))
        assert await sums(services, 5) == {1.0: 5}


async def test_a_candidate_that_leaves_loses_no_request(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    async with node(tmp_path, store) as services:
        await loaded(services, tables(store, weight=50))
        asked = [asyncio.create_task(sum_of(services, "digits")) for _ in range(50)]
        await asyncio.sleep(0)
        services.remove(placement(NEW, store.digests[1]))
        assert {await each for each in asked} <= {1.0, 2.0}
        assert await sums(services, 20) == {1.0: 20}


async def test_a_candidate_becomes_current_without_a_request_in_between(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    new = store.digests[1]
    async with node(tmp_path, store) as services:
        await loaded(services, tables(store, weight=100))
        services.change(
            placement("digits", new, generation=3, candidate={"service": NEW, "digest": new, "weight": 100})
        )
        while placed_service(services, "digits").generations.generation < 3:
            assert await sum_of(services, "digits") == 2.0
        await loaded(services, [placement("digits", new, generation=4)])
        assert await sums(services, 20) == {2.0: 20}


async def test_comparisons_are_reported_and_their_outputs_are_not_returned(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    async with node(tmp_path, store) as services:
        await loaded(services, tables(store, shadow=100))
        current = placed_service(services, "digits")

        async with asyncio.timeout(20):
            for _ in iter(lambda: current.revisions.comparisons.compared < 3, False):
                assert await sum_of(services, "digits") == 1.0
                await asyncio.sleep(0)
        found = current.report().comparisons
        assert found is not None
        assert (found.candidate, found.compared >= 3, found.agreed) == (NEW, True, 0)


def looking_up() -> bytes:
    """A model that adds 2 to its inputs if they are ones, and rejects zeros: its table has no entry -9."""
    table = [numpy_helper.from_array(np.array([2.0], np.float32), "table")]
    table += [numpy_helper.from_array(np.array([[9, 9, 9, 9]], np.int64), "offset")]
    table += [numpy_helper.from_array(np.array([9], np.float32), "scale")]
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Sub", ["whole", "offset"], ["index"]),
        helper.make_node("Gather", ["table", "index"], ["found"]),
        helper.make_node("Add", ["x", "found"], ["y"]),
    ]
    return model_of(nodes, [info("x", "batch", 4)], [info("y", "batch", 4)], table)


async def test_inputs_that_the_candidates_model_rejects_are_answered_and_reported_as_failed(
    tmp_path: Path,
) -> None:
    store = SmallStore(adding(1), looking_up())
    async with node(tmp_path, store) as services:
        await loaded(services, tables(store, weight=100))
        assert await sums(services, 5) == {1.0: 5}
        candidate = placed_service(services, NEW).dataplane.window
        assert (candidate.requests, candidate.met, candidate.failed) == (5, 0, 5)


class Backend:
    """Answers with a number, or with an error."""

    platform = "test"
    contract: Contract | None = Contract((), ())
    message = ""

    def __init__(self, answer: float | Exception, sequences: Sequence[str] = ()) -> None:
        self.answer, self.statistics, self._sequences = answer, ModelStatistics(), sequences
        self.asked, self.rejections = 0, 0

    def has(self, name: str) -> bool:
        return name in self._sequences

    def at_once(self, request: InferenceRequest) -> InferenceResponse | None:
        return self._respond()

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        return self._respond()

    def _respond(self) -> InferenceResponse:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return InferenceResponse([np.full(1, self.answer)], {})


class Found:
    digest = "sha256:" + "0" * 64

    def __init__(self, backend: Any) -> None:
        self.backend: SequencedBackend = backend

    def count_rejection(self) -> None:
        self.backend.rejections += 1  # type: ignore[attr-defined]


def divided(
    own: Any, other: Any, *, weight: int = 0, shadow: int = 0, chance: Callable[[], float] = lambda: 0.5
) -> RevisionedBackend:
    placed = PlacedCandidate(service=NEW, digest=Found.digest, weight=weight, shadow=shadow)
    return RevisionedBackend(own, lambda: placed, lambda _: Found(other), idle=lambda: True, chance=chance)


async def answer(backend: RevisionedBackend, **request: Any) -> float:
    response = await backend.infer(InferenceRequest({}, [], **request))
    return float(response.outputs[0][0])


@pytest.mark.parametrize("error", [HopFailed("away"), ModelFailed("bad")])
async def test_the_current_revision_answers_where_the_candidate_fails(error: Exception) -> None:
    assert await answer(divided(Backend(1), Backend(error), weight=100)) == 1.0


async def test_a_request_that_the_candidate_alone_rejects_is_answered_and_counts_as_its_error() -> None:
    own, new = Backend(1), Backend(BadTensor("inputs: rejected by the model"))
    assert await answer(divided(own, new, weight=100)) == 1.0
    assert (own.asked, new.rejections) == (1, 1)
    await answer(divided(own, new, shadow=100))
    await eventually(lambda: new.rejections == 2)


async def test_a_request_that_both_revisions_reject_is_refused_and_counts_as_no_error() -> None:
    own, new = Backend(BadRequest("ours")), Backend(BadRequest("theirs"))
    with pytest.raises(BadRequest, match="ours"):
        await answer(divided(own, new, weight=100))
    assert new.rejections == 0


async def test_a_sequence_stays_with_the_revision_that_has_its_state() -> None:
    own, new = Backend(1, ["old"]), Backend(2, ["new"])
    for weight in (0, 50, 100):
        backend = divided(own, new, weight=weight)
        assert await answer(backend, stream="old") == 1.0
        assert await answer(backend, stream="new") == 2.0
    assert await answer(divided(own, new, weight=100), stream="next", starts=True) == 2.0
    assert await answer(divided(own, new, weight=0), stream="next", starts=True) == 1.0


async def test_a_comparison_that_fails_is_not_seen_by_the_client() -> None:
    new = Backend(RuntimeError("a defect"))
    assert await answer(divided(Backend(1), new, shadow=100)) == 1.0
    await eventually(lambda: new.asked == 1)


def test_responses_at_once_are_not_given_while_there_is_a_candidate() -> None:
    assert divided(Backend(1), Backend(2), weight=1).at_once(REQUEST) is None
    alone = RevisionedBackend(Backend(1), lambda: None, lambda _: None, idle=lambda: True)  # type: ignore[arg-type]
    assert alone.at_once(REQUEST) is not None


@pytest.mark.parametrize(
    ("theirs", "same"),
    [
        ([np.array([100.0, 0.9])], True),
        ([np.array([100.0, 1.0 + 0.9])], True),
        ([np.array([98.0, 1.0])], False),
        ([np.array([[100.0, 1.0]])], False),
        ([np.array([100.0, np.nan])], False),
        ([], False),
    ],
)
def test_outputs_agree_up_to_a_hundredth_of_the_greatest(theirs: list[Any], same: bool) -> None:
    assert agrees([np.array([100.0, 1.0])], theirs) is same


def test_texts_and_missing_values_agree_if_they_are_equal() -> None:
    assert agrees([np.array(["a"], object)], [np.array(["a"], object)])
    assert not agrees([np.array(["a"], object)], [np.array(["b"], object)])
    assert agrees([np.array([np.nan, 1.0])], [np.array([np.nan, 1.0])])
