import json
from dataclasses import replace

import pytest

from demo.reports import DemoResult, ModeResult, complaints, document, score
from messages import mentions
from sharing_results import sharing_result

MODE_KEYS = {"requests", "failed", "refused", "slo_attainment", "accuracy", "p50_s", "p95_s", "phases"}
PHASE_KEYS = {
    "link_bps",
    "measured_bps",
    "requests",
    "failed",
    "refused",
    "exit",
    "cut",
    "slo_attainment",
    "accuracy",
    "p95_s",
}


def test_the_report_has_the_published_keys_and_is_json(result: DemoResult) -> None:
    report = json.loads(json.dumps(document(result)))
    assert {"modes", "switches", "setup_s", "demo_s"} <= report.keys()
    for mode in report["modes"].values():
        assert mode.keys() == MODE_KEYS
        assert len(mode["phases"]) == 6
        for phase in mode["phases"]:
            assert phase.keys() == PHASE_KEYS | {"nodes"}


def test_the_report_has_the_tenants_if_they_ran(result: DemoResult) -> None:
    assert document(result)["tenants"] is None
    assert document(replace(result, tenants=sharing_result()))["tenants"]["noisy"] == "noisy"


def test_the_numbers_are_those_of_the_responses(result: DemoResult) -> None:
    report = document(result)
    auto, cloud = report["modes"]["Auto"], report["modes"]["CloudOnly"]
    assert (auto["requests"], auto["failed"], auto["accuracy"]) == (18, 0, 1.0)
    assert auto["slo_attainment"] == pytest.approx(2 / 3, abs=1e-4)
    assert (cloud["requests"], cloud["failed"]) == (6, 1)
    assert [phase["cut"] for phase in auto["phases"]] == [
        "pool1",
        "reduce2",
        "reduce2",
        "local",
        "local",
        "pool1",
    ]
    assert [phase["measured_bps"] for phase in auto["phases"]] == [20e6, 4e6, 1e6, 0.25e6, None, 20e6]
    assert report["switches"] == 3
    assert (report["setup_s"], report["demo_s"]) == (61.0, 24.0)


def test_a_phase_with_every_request_lost_has_no_exit(result: DemoResult) -> None:
    cut = document(result)["modes"]["CloudOnly"]["phases"][4]
    assert (cut["link_bps"], cut["failed"], cut["exit"], cut["accuracy"], cut["slo_attainment"]) == (
        0,
        1,
        None,
        None,
        0,
    )


def test_the_score_is_attainment_times_accuracy(result: DemoResult) -> None:
    modes = document(result)["modes"]
    assert score(modes["Auto"]) == pytest.approx(2 / 3, abs=1e-4)
    assert score({"slo_attainment": None, "accuracy": None}) == 0.0


def test_requests_that_cloud_only_loses_do_not_fail_the_demo(result: DemoResult) -> None:
    assert complaints(document(result), ["Auto", "CloudOnly"]) == []


def test_a_request_lost_in_auto_is_named_with_its_phase(result: DemoResult) -> None:
    cloud = result.modes[1]
    lost = replace(result, modes=[replace(cloud, mode="Auto")])
    (complaint,) = complaints(document(lost), ["Auto"])
    assert complaint.startswith("Auto")
    assert mentions("1 of 1", "cut").search(complaint)


def test_a_request_that_a_busy_node_refused_is_counted_and_not_lost(result: DemoResult) -> None:
    cloud = result.modes[1]
    phases = [
        replace(
            phase,
            results=[
                replace(each, error="[429] requests ahead take 90 ms") if each.error else each
                for each in phase.results
            ],
        )
        for phase in cloud.phases
    ]
    busy = replace(result, modes=[replace(cloud, mode="Auto", phases=phases)])
    found = document(busy)["modes"]["Auto"]
    assert (found["failed"], found["refused"]) == (1, 1)
    assert complaints(document(busy), ["Auto"]) == []


def test_a_mode_that_could_not_run_is_a_failure_with_its_reason(result: DemoResult) -> None:
    broken = replace(result, modes=[*result.modes, ModeResult("LocalOnly", (), error="no node has memory")])
    failed, missing = complaints(document(broken), ["Auto", "CloudOnly", "LocalOnly", "RightSizingOnly"])
    assert failed.startswith("LocalOnly")
    assert failed.endswith("no node has memory")
    assert missing.startswith("RightSizingOnly")
