"""Slices that the model store has lost are requested again once runtimes report that they cannot load."""

from typing import Any

import pytest

from edge_api import reasons
from edge_operator.cluster import PLACEMENTS
from edge_operator.errors import StoreError
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
    world.cluster.apply_status(PLACEMENTS, KEY.namespace, name, status | {"message": NO_BLOB})


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
