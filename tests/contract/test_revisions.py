"""The operator places a candidate beside a service; the runtime reads both, and the operator its reports."""

import datetime
from typing import Any

from edge_api.placement_reports import PlacementStatus
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS
from edge_runtime.assignment import Placement, parse_placement
from edge_runtime.status import Comparisons, Counted, Report, Summary, status_document
from operator_objects import CARD, KEY
from operator_worlds import new_world

NEW = "store://digits/new.onnx"
DIGEST = "sha256:" + "cd" * 32
STARTED = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)


def report(placement: Placement, **more: Any) -> dict[str, Any]:
    """What the runtime writes once it has loaded a table."""
    route = placement.spec.routes[0]
    counted = Counted(more.pop("requests", 0), more.pop("met", 0), STARTED, more.pop("failed", 0))
    return status_document(
        Report(
            generation=placement.generation,
            loaded=True,
            message="",
            route=route.name,
            exit=route.exit,
            cut=route.cut,
            link=None,
            summary=Summary(0, 0, None, None),
            now=STARTED,
            counted=counted,
            **more,
        )
    )


def read(world: Any) -> dict[str, list[Placement]]:
    """The Placements by service, as the runtime reads them."""
    found: dict[str, list[Placement]] = {}
    for body in world.cluster.find(PLACEMENTS, KEY.namespace):
        found.setdefault(body["spec"]["service"], []).append(parse_placement(body))
    return found


def served(world: Any, candidate: dict[str, Any], current: dict[str, Any]) -> None:
    """The runtimes report on everything that is published, until nothing changes."""
    for _ in range(5):
        world.reconcile()
        for service, placements in read(world).items():
            for each in placements:
                told = report(each, **(current if service == KEY.name else candidate))
                world.cluster.report_status(PLACEMENTS, KEY.namespace, each.name, told)
        world.pods_are_ready()
        world.now += 10
    world.reconcile()


def rolling() -> Any:
    world = new_world()
    world.store.cards[NEW] = CARD.model_copy(update={"digest": DIGEST})
    served(world, {}, {})
    world.change(model={"storageUri": NEW}, rollout={"steps": [{"weight": 25, "duration": "1h"}]})
    served(world, {}, {})
    return world


def test_the_runtime_finds_the_candidate_of_a_service_by_its_name_and_digest() -> None:
    found = read(rolling())
    (name,) = found.keys() - {KEY.name}
    assert {each.spec.model.digest for each in found[name]} == {DIGEST}
    for each in found[KEY.name]:
        assert each.spec.candidate is not None
        assert (each.spec.candidate.service, each.spec.candidate.digest) == (name, DIGEST)
        assert (each.spec.candidate.weight, each.spec.candidate.shadow) == (25, 0)
    assert all(each.spec.candidate is None for each in found[name])


def test_the_operator_returns_from_a_candidate_by_the_errors_that_runtimes_report() -> None:
    world = rolling()
    served(world, {"requests": 20, "met": 16, "failed": 4}, {})
    assert world.service()["status"]["rollout"]["reason"] == "CandidateFails"
    left = [body["metadata"]["name"] for body in world.cluster.find(INFERENCE_SERVICES, KEY.namespace)]
    assert left == [KEY.name]
    assert all(each.spec.candidate is None for each in read(world)[KEY.name])
    assert read(world).keys() == {KEY.name}


def test_the_operator_reads_the_comparisons_of_runtimes() -> None:
    world = rolling()
    (name,) = read(world).keys() - {KEY.name}
    served(world, {}, {"comparisons": Comparisons(name, 7, 5)})
    found = world.service()["status"]["rollout"]
    nodes = len(read(world)[KEY.name])
    assert (found["compared"], found["agreed"]) == (7 * nodes, 5 * nodes)


def test_what_a_runtime_reports_of_revisions_is_a_status_of_the_api() -> None:
    placement = read(rolling())[KEY.name][0]
    told = report(placement, requests=9, met=5, failed=2, comparisons=Comparisons("digits-1", 4, 3))
    found = PlacementStatus.model_validate(told)
    assert (found.requests, found.met, found.failed) == (9, 5, 2)
    assert found.shadow is not None
    assert (found.shadow.candidate, found.shadow.compared, found.shadow.agreed) == ("digits-1", 4, 3)
