"""A model that was never measured is planned by an estimate, which the measurement replaces."""

from typing import Any

import pytest

from edge_operator.errors import StoreError
from edge_operator.store_answers import DeviceProfile, Estimate
from messages import mentions

World = Any  # tests/operator/conftest.py


def _estimate(profile: DeviceProfile) -> DeviceProfile:
    return profile.model_copy(update={"estimated": Estimate(models=7, error=0.12), "node": "estimated"})


@pytest.fixture
def estimable(world: World) -> World:
    """The classes of entry nodes have estimates, and no class is measured."""
    world.measured = dict(world.store.profiles)
    world.store.profiles.clear()
    world.store.estimates = {name: _estimate(each) for name, each in world.measured.items()}
    return world


def _classes(world: World) -> dict[str, Any]:
    profile = next(b for (kind, *_), b in world.cluster.objects.items() if kind == "ModelProfile")
    return {each["name"]: each for each in profile["spec"]["deviceClasses"]}


def test_a_model_without_measurements_is_planned_by_its_estimate_while_jobs_measure(estimable: World) -> None:
    estimable.settle()
    profiled = estimable.condition("Profiled")
    assert (profiled["status"], profiled["reason"]) == ("True", "Estimated")
    assert mentions("camera from 7 other models", "error 12%", "profiling device class camera").search(
        profiled["message"]
    )
    assert len(estimable.placements()) == 3
    assert _classes(estimable)["camera"]["estimated"] == {"models": 7, "error": 0.12}
    assert _classes(estimable)["camera"]["node"] == "cam-1"
    assert any("camera" in job["metadata"]["name"] for job in estimable.jobs())


def test_a_measurement_replaces_the_estimate(estimable: World) -> None:
    estimable.settle()
    estimable.store.profiles.update(estimable.measured)
    estimable.settle()
    profiled = estimable.condition("Profiled")
    assert (profiled["status"], profiled["reason"]) == ("True", "Measured")
    assert all("estimated" not in each for each in _classes(estimable).values())


def test_an_estimate_in_a_model_profile_does_not_count_as_a_measurement_after_a_restart(
    estimable: World,
) -> None:
    estimable.settle()
    estimable.restart()
    estimable.store.estimates.clear()
    estimable.settle()
    profiled = estimable.condition("Profiled")
    assert (profiled["status"], profiled["reason"]) == ("Unknown", "Profiling")


def test_a_class_of_entry_nodes_without_an_estimate_keeps_the_plan_waiting(estimable: World) -> None:
    del estimable.store.estimates["gateway"]
    estimable.settle()
    assert estimable.condition("Profiled")["reason"] == "Profiling"
    assert estimable.placements() == {}


def test_a_failed_measurement_is_reported_while_the_estimate_serves(estimable: World) -> None:
    estimable.node("gate", "gateway", ready=False)
    estimable.settle()
    profiled = estimable.condition("Profiled")
    assert (profiled["status"], profiled["reason"]) == ("False", "NoNodeToProfile")
    assert mentions("estimated", "class gateway").search(profiled["message"])


def test_a_store_that_cannot_estimate_changes_nothing(estimable: World, monkeypatch: Any) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("BadRequest", "the operators cannot be listed")

    monkeypatch.setattr(estimable.store, "estimate", refuse)
    estimable.settle()
    assert estimable.condition("Profiled")["reason"] == "Profiling"
