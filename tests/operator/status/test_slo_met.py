"""SLO attainment in the status: computed from counters, steady at the edge, kept over restarts."""

from typing import Any

import pytest

from edge_api import InferenceService, Placement
from edge_operator.pool.report_intervals import report_interval
from edge_operator.pool.slo import Counters
from edge_operator.pool.slo_status import slo_met, slo_status
from messages import mentions
from operator_objects import service_body

World = Any  # tests/operator/conftest.py


def pass_time(world: World, seconds: float) -> None:
    world.now += seconds
    world.reconcile()


def test_the_windows_are_sums_of_the_counters_of_all_entry_nodes(world: World) -> None:
    world.settle()
    pass_time(world, 10)
    world.requests_arrive(100, 99, latency={"p50": "40ms", "p95": "80ms"}, attainment="0.99")
    pass_time(world, 10)
    slo = world.service()["status"]["slo"]
    assert (slo["attainment"], slo["summary"], slo["p95"]) == ("0.99", "0.99/0.95", "80ms")
    assert slo["windows"] == [
        {"window": span, "requests": 300, "attainment": "0.99", "burnRate": "0.2", "covered": "10s"}
        for span in ("5m", "1h", "6h", "28d")
    ]
    assert slo["errorBudgetRemaining"] == "0.8"
    assert world.condition("SLOMet")["status"] == "True"
    world.requests_arrive(200, 50, attainment="0.25")
    pass_time(world, 10)
    slo = world.service()["status"]["slo"]
    assert (slo["attainment"], slo["windows"][0]["requests"]) == ("0.49", 900)  # 447 of 900, rounded down
    assert slo["errorBudgetRemaining"] == "0"
    met = world.condition("SLOMet")
    assert (met["status"], met["reason"]) == ("False", "ObjectiveMissed")
    assert mentions("49.7%", 900, "90ms", "95.0%", "cam-1 with 25.0%").search(met["message"])


def test_windows_outlive_restarts_of_the_operator_and_count_what_it_missed(world: World) -> None:
    world.settle()
    pass_time(world, 10)
    world.requests_arrive(100, 90)
    pass_time(world, 10)
    world.restart()
    world.requests_arrive(50, 50)
    pass_time(world, 30)
    hour = world.service()["status"]["slo"]["windows"][1]
    assert (hour["window"], hour["requests"], hour["attainment"]) == ("1h", 450, "0.933")
    world.restart()
    pass_time(world, 30)
    assert world.service()["status"]["slo"]["windows"][1] == hour


def test_counters_of_a_service_without_load_cost_no_writes(world: World) -> None:
    world.settle()
    pass_time(world, 10)
    world.requests_arrive(100, 99)
    pass_time(world, 10)
    pass_time(world, 400)
    met = world.condition("SLOMet")
    assert (met["status"], met["reason"]) == ("Unknown", "NoRequests")
    writes, slo = world.cluster.status_writes, world.service()["status"]["slo"]
    for _ in range(20):
        pass_time(world, 600)
    assert world.cluster.status_writes == writes
    assert world.service()["status"]["slo"] == slo, "windows end at the last report"


def test_at_the_edge_of_the_objective_the_verdict_turns_at_most_once_in_five_minutes(world: World) -> None:
    world.settle()
    pass_time(world, 60)
    world.requests_arrive(100, 96)
    pass_time(world, 60)
    assert world.condition("SLOMet")["status"] == "True"
    world.cluster.events.clear()
    writes = world.cluster.status_writes
    for n in range(60):  # a report every 5 s, by turns a little above and a little below 95 %
        world.requests_arrive(20, 20 if n % 2 else 18, sloMet=bool(n % 2))
        pass_time(world, 5)
    turns = [reason for _, reason, message in world.cluster.events if message.startswith("SLOMet")]
    assert turns in ([], ["ObjectiveMissed"])
    assert world.cluster.status_writes - writes <= 31, "one in 10 s, and the turn of the verdict"


def test_a_missed_objective_is_met_again_once_the_misses_left_the_window(world: World) -> None:
    world.settle()
    pass_time(world, 10)
    world.requests_arrive(100, 0)
    pass_time(world, 10)
    assert world.condition("SLOMet")["status"] == "False"
    assert not mentions("again").search(world.condition("SLOMet")["message"]), "it is below the objective"
    for _ in range(40):
        world.requests_arrive(100, 100)
        pass_time(world, 10)
    assert world.condition("SLOMet")["status"] == "True"


def test_a_missed_objective_stays_missed_for_as_long_as_its_window(world: World) -> None:
    world.settle()
    pass_time(world, 10)
    world.requests_arrive(100, 0)
    pass_time(world, 10)
    missed = world.condition("SLOMet")["lastTransitionTime"]
    for _ in range(29):
        world.requests_arrive(10_000, 10_000)
        pass_time(world, 10)
        assert world.condition("SLOMet")["status"] == "False", "99 % of the requests in the window met it"
    assert mentions("95.0%", "5m", "again").search(world.condition("SLOMet")["message"])
    world.requests_arrive(10_000, 10_000)
    pass_time(world, 10)
    assert world.condition("SLOMet")["status"] == "True"
    assert world.condition("SLOMet")["lastTransitionTime"] != missed


def test_a_missed_objective_is_not_met_again_at_its_edge(world: World) -> None:
    world.settle()
    pass_time(world, 10)
    world.requests_arrive(100, 90)
    pass_time(world, 10)
    for _ in range(70):
        world.requests_arrive(100, 95)
        pass_time(world, 10)
    met = world.condition("SLOMet")
    assert (met["status"], met["reason"]) == ("False", "ObjectiveMissed")
    assert mentions("95.0%").search(met["message"])


def test_reports_without_counters_of_an_earlier_runtime_say_nothing_about_the_slo(world: World) -> None:
    world.settle()
    world.runtimes_report(requests=80, attainment="0.5", since=None, met=None)
    pass_time(world, 10)
    assert "slo" not in world.service()["status"]
    assert world.condition("Ready")["status"] == "True"


def test_a_pools_reports_are_at_most_sixty_writes_a_minute() -> None:
    for placements in (1, 8, 9, 100, 1000, 10_000, 30_000):
        interval = report_interval(placements, None)
        assert placements * 60 / interval <= 60
        assert interval in {2.0**n for n in range(3, 20)}


def test_one_placement_more_or_less_at_a_border_changes_the_interval_once() -> None:
    interval, seen = 8.0, []
    for placements in [8, 9] * 20 + [5] * 3:
        interval = report_interval(placements, interval)
        seen.append(interval)
    assert seen == [8.0] + [16.0] * 42
    assert report_interval(4, interval) == 8.0


def test_the_interval_follows_the_number_of_placements_of_the_pool(world: World) -> None:
    for number in range(10):
        world.node(f"n-{number}", "camera")
    world.settle()
    placements = [Placement.model_validate(body) for body in world.placements().values()]
    assert {float(placement.spec.report_interval) for placement in placements} == {16.0}


def _reports_every(world: World, interval: str) -> None:
    for body in world.placements().values():
        world.cluster.put(body | {"spec": body["spec"] | {"reportInterval": interval}})


@pytest.mark.parametrize(
    ("interval", "ages"),
    [("16s", [None] * 4), ("1m4s", ["6m4s", None, None, None]), ("8m32s", ["13m32s", "1h8m32s", None, None])],
)
def test_windows_say_how_old_their_requests_can_be_where_reports_are_rare(
    world: World, interval: str, ages: list[str | None]
) -> None:
    world.settle()
    service = InferenceService.model_validate(world.service())
    _reports_every(world, interval)
    placements = {node: Placement.model_validate(body) for node, body in world.placements().items()}
    found = slo_status(service, placements, Counters(10, 9), world.clock().wall(), 0.0)
    assert found is not None
    assert [window.window for window in found.windows] == ["5m", "1h", "6h", "28d"]
    assert [window.age and str(window.age) for window in found.windows] == ages


@pytest.mark.parametrize(("interval", "named"), [("4m16s", False), ("8m32s", True)])
def test_slo_met_names_an_interval_that_is_longer_than_its_window(
    world: World, interval: str, named: bool
) -> None:
    world.settle()
    service = InferenceService.model_validate(world.service())
    _reports_every(world, interval)
    placements = {node: Placement.model_validate(body) for node, body in world.placements().items()}
    now = world.clock().wall()
    found = slo_met(service, slo_status(service, placements, Counters(10, 9), now, 0.0), placements, now)
    assert found.reason == "ObjectiveMissed"
    assert (interval in found.message) is named


def test_a_service_that_reports_follows_the_number_of_placements_of_other_services(world: World) -> None:
    world.settle()
    body = world.placements()["cam-1"]
    for number in range(300):
        meta = {"name": f"other-{number}.cam-1", "namespace": "shop", "labels": body["metadata"]["labels"]}
        world.cluster.put(body | {"metadata": meta})
    world.requests_arrive(10, 10)
    pass_time(world, 10)
    assert {body["spec"]["reportInterval"] for body in world.placements().values()} == {"8m32s"}


def test_tables_are_not_written_again_while_the_other_services_of_the_pool_are_placed(world: World) -> None:
    for number in range(40):
        meta = {"name": f"other-{number}", "namespace": "shop"}
        world.cluster.put(service_body(devicePool="factory") | {"metadata": meta})
    world.settle()
    assert {body["spec"]["reportInterval"] for body in world.placements().values()} == {"2m8s"}
    assert sum(line.startswith("apply Placement") for line in world.log) == 41 * len(world.placements())
