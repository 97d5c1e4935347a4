"""Only what changed of a service's objects is parsed again."""

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from edge_operator.pool.parsed import Parsed, parsed

World = Any  # tests/operator/conftest.py


@pytest.fixture
def objects(world: World) -> tuple[Any, list[Any]]:
    """A service, and its Placements with reports."""
    world.settle()
    return world.service(), [*world.placements().values()]


def newer(body: Any, **metadata: Any) -> Any:
    found = copy.deepcopy(body)
    found["metadata"] |= metadata
    return found


def test_objects_that_stay_the_same_are_not_parsed_again(objects: tuple[Any, list[Any]]) -> None:
    service, placements = objects
    before = parsed(service, placements, Parsed())
    after = parsed(service, placements, before)
    assert after.service is not None
    assert before.service is not None
    assert after.service[1] is before.service[1]
    assert [one for _, one in after.placements.values()] == [one for _, one in before.placements.values()]
    for uid, (_, placement) in after.placements.items():
        assert placement is before.placements[uid][1]


def test_a_report_alone_leaves_the_spec_as_it_was_parsed(objects: tuple[Any, list[Any]]) -> None:
    service, (placement, *_) = objects
    before = parsed(service, [placement], Parsed())
    report = newer(placement, resourceVersion="999", annotations={"note": "new"})
    report["status"] = {"observedGeneration": 1, "loaded": True, "requests": 12}
    after = parsed(service, [report], before)
    ((uid, (_, found)),) = after.placements.items()
    assert found.spec is before.placements[uid][1].spec
    assert found.status is not None
    assert (found.status.requests, found.metadata.annotations) == (12, {"note": "new"})
    assert found == parsed(service, [report], Parsed()).placements[uid][1]


def test_another_generation_is_parsed(objects: tuple[Any, list[Any]]) -> None:
    service, (placement, *_) = objects
    before = parsed(service, [placement], Parsed())
    changed = newer(placement, generation=placement["metadata"]["generation"] + 1)
    changed["spec"]["node"] = "edge-b"
    ((_, (_, found)),) = parsed(service, [changed], before).placements.items()
    assert found.spec.node == "edge-b"


def test_a_placement_that_cannot_be_read_is_left_out(objects: tuple[Any, list[Any]]) -> None:
    service, (placement, *_) = objects
    before = parsed(service, [placement], Parsed())
    report = newer(placement, resourceVersion="999")
    report["status"] = {"loaded": "perhaps"}
    assert parsed(service, [report], before).placements == {}


def test_a_service_that_cannot_be_read_is_an_error(objects: tuple[Any, list[Any]]) -> None:
    service, _ = objects
    wrong = newer(service)
    wrong["spec"]["slo"] = {"latency": "soon"}
    with pytest.raises(ValidationError):
        parsed(wrong, [], Parsed())
