"""Slices that the model store has lost are requested again once runtimes report that they cannot load."""

from typing import Any

import pytest

from edge_api import reasons
from edge_operator.cluster import PLACEMENTS
from edge_operator.errors import StoreError
from edge_operator.pool.facts import CardOf
from operator_objects import KEY

World = Any  # tests/operator/conftest.py
NO_BLOB = "digest: no blob sha256:00 in this store: PUT it or its model first"


def requested(world: World) -> list[str]:
    """The slices that were requested since the last look."""
    found = [entry for entry in world.log if entry.startswith("slice ")]
    world.log.clear()
    return found


def cannot_load(world: World, reason: str = reasons.CANNOT_LOAD) -> None:
    """cam-1's runtime has started again and cannot fetch the slices of its table."""
    name = f"{KEY.name}.cam-1"
    body = world.cluster.get(PLACEMENTS, KEY.namespace, name)
    status = {"observedGeneration": body["metadata"]["generation"], "loaded": False, "reason": reason}
    world.cluster.report_status(PLACEMENTS, KEY.namespace, name, status | {"message": NO_BLOB})


@pytest.fixture(params=["running", "restarted"])
def serving(world: World, request: pytest.FixtureRequest) -> World:
    world.settle()
    if request.param == "restarted":
        world.restart()
    requested(world)
    return world


def test_the_slices_of_a_table_that_cannot_be_loaded_are_requested_once(serving: World) -> None:
    serving.reconcile()
    assert requested(serving) == []
    cannot_load(serving)
    serving.reconcile()
    assert len(requested(serving)) > 1
    serving.now += 10
    serving.reconcile()
    assert requested(serving) == []


def test_they_are_requested_again_if_they_are_lost_again(serving: World) -> None:
    for _ in range(2):
        cannot_load(serving)
        serving.reconcile()
        assert requested(serving)
        serving.runtimes_report()
        serving.reconcile()
        assert not requested(serving)


def test_a_slice_that_fails_its_trial_is_not_requested_again(serving: World) -> None:
    cannot_load(serving, reasons.TRIAL_CRASHED)
    serving.reconcile()
    assert requested(serving) == []


def test_a_store_that_lost_the_model_too_is_given_its_address(
    serving: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = serving.store.slice
    cannot_load(serving)
    with monkeypatch.context() as lost:

        def found(*key: Any) -> Any:
            if not serving.store.registered:
                raise StoreError("NotFound", "model: upload it again")
            return make(*key)

        serving.store.registered.clear()
        lost.setattr(serving.store, "slice", found)
        for _ in range(3):
            serving.now += 10
            serving.reconcile()
    assert [source.storage_uri for source in serving.store.registered] == ["store://digits/digits.onnx"]
    assert requested(serving)


def forgets_models(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has lost its volume: it makes slices once the model is registered again."""
    make = world.store.slice

    def found(*key: Any) -> Any:
        if not world.store.registered:
            raise StoreError("NotFound", "model: upload it again")
        return make(*key)

    world.store.registered.clear()
    monkeypatch.setattr(world.store, "slice", found)


def test_it_is_given_the_address_again_while_a_device_class_is_not_measured(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan then works with what the store told of the model, not with the ModelProfile."""
    del world.store.profiles["cloud"]
    world.settle()
    cannot_load(world)
    forgets_models(world, monkeypatch)
    requested(world)
    for _ in range(3):
        world.now += 10
        world.reconcile()
    assert {source.storage_uri for source in world.store.registered} == {"store://digits/digits.onnx"}
    assert requested(world)


def test_a_store_that_loses_a_model_again_and_again_is_not_called_without_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    del world.store.profiles["cloud"]
    world.settle()
    cannot_load(world)
    attempts = list[Any]()

    def lost(*key: Any) -> Any:
        attempts.append(key)
        raise StoreError("NotFound", "model: upload it again")

    world.store.registered.clear()
    monkeypatch.setattr(world.store, "slice", lost)
    for _ in range(3):
        world.reconcile()
    assert len(attempts) == 3, "one a turn"
    assert len(world.store.registered) <= 2 * len(attempts), "by its address and by its digest"


def test_a_tail_whose_file_the_store_lost_before_it_was_loaded_is_requested_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.triton.away = True
    world.settle()
    stored, load, make = set[str](), world.triton.load, world.store.slice

    def loads(tail: Any, onnx: Any) -> None:
        if tail.digest not in stored:
            raise StoreError("NotFound", NO_BLOB)
        load(tail, onnx)

    def stores(*key: Any) -> Any:
        made = make(*key)
        stored.add(made.digest)
        return made

    monkeypatch.setattr(world.triton, "load", loads)
    monkeypatch.setattr(world.store, "slice", stores)
    world.triton.away = False
    for _ in range(4):
        world.now += 10
        world.reconcile()
    assert world.triton.models
    assert world.condition("Placed")["reason"] == "Published"


def test_tails_that_could_not_be_loaded_are_forgotten_once_the_service_uses_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loses(*_: Any) -> None:
        raise StoreError("NotFound", NO_BLOB)

    monkeypatch.setattr(world.triton, "load", loses)
    world.settle()
    assert any(isinstance(need, CardOf) for need in world.planned().used)
    world.change(mode="LocalOnly")
    world.settle()
    assert world.condition("Placed")["reason"] == "Published"
    assert world.planned().used == frozenset(), "the ModelProfile has what the plan needs"
