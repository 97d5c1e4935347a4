"""The status that the runtime reports, from its measurements."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from edge_api.placement_reports import PlacementStatus
from edge_runtime.status import Counted, LinkReport, Report, Summary, Window, quantile, status_document

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def _report(window: Window, link: LinkReport | None) -> Report:
    counted = Counted(window.requests, window.met, SINCE)
    summary = window.summary(100.0)
    return Report(
        3, True, "", "exit5@pool1", "exit5", "pool1", link, summary, NOW, counted=counted, slo_met=True
    )


def test_refused_requests_count_but_have_no_latency() -> None:
    window = Window()
    window.add(50.0, 0.2, met=True)
    for _ in range(9):
        window.add(50.0, None, met=False)
    assert window.summary(100.0) == Summary(requests=10, met=1, p50=0.2, p95=0.2)
    document = status_document(_report(window, None))
    assert (document["latency"], document["attainment"]) == ({"p50": "200ms", "p95": "200ms"}, "0.100")


def test_a_profile_of_earlier_requests_is_removed_by_the_merge_patch() -> None:
    report = _report(Window(), None)
    kept = {"kept": 1, "attempts": 0, "message": ""}
    assert status_document(replace(report, first_requests=kept))["firstRequests"] == {**kept, "profile": None}


def test_the_status_holds_what_the_last_minute_measured() -> None:
    window = Window()
    window.add(30.0, 9.0, met=False)  # more than a minute ago
    for i in range(100):
        window.add(50.0, 0.041 if i < 90 else 0.077, met=i < 99)
    document = status_document(_report(window, LinkReport(True, 3_920_000.4, 3_100_000.0, 0.0008, NOW)))
    assert document == {
        "observedGeneration": 3,
        "loaded": True,
        "reason": None,
        "message": "",
        "activeRoute": "exit5@pool1",
        "exit": "exit5",
        "cut": "pool1",
        "link": {
            "state": "Up",
            "bandwidth": "3.92M",
            "bandwidthLow": "3.1M",
            "roundTrip": "800µs",
            "measuredAt": "2026-01-02T03:04:05Z",
        },
        "localLinks": None,
        "latency": {"p50": "41ms", "p95": "77ms"},
        "residuals": None,
        "shapes": None,
        "firstRequests": None,
        "requests": 101,
        "met": 99,
        "failed": 0,
        "shadow": None,
        "since": "2026-01-01T00:00:00Z",
        "sloMet": True,
        "attainment": "0.990",
        "peerScheme": None,
        "unpacked": None,
        "idle": None,
        "loadTime": None,
        "lastUpdated": "2026-01-02T03:04:05Z",
    }


def test_what_is_not_known_is_removed_not_invented() -> None:
    document = status_document(_report(Window(), None))
    assert (document["latency"], document["attainment"], document["link"]) == (None, None, None)
    assert document["requests"] == 0


def test_the_status_tells_that_sessions_were_let_go_and_how_long_the_last_load_took() -> None:
    document = status_document(replace(_report(Window(), None), idle=True, load_time=0.25))
    assert (document["idle"], document["loadTime"]) == (True, "250ms")


def test_a_link_that_is_down_keeps_its_last_bandwidth() -> None:
    link = status_document(_report(Window(), LinkReport(False, 1e6, None, None, NOW)))["link"]
    assert (link["state"], link["bandwidth"], link["roundTrip"]) == ("Down", "1M", None)


@pytest.mark.parametrize("seconds", [-1e-6, -0.0, math.inf, -math.inf, math.nan, 1e-12, 1e9])
def test_no_measurement_keeps_a_status_from_being_written(seconds: float) -> None:
    window = Window()
    window.add(99.0, seconds, met=True)
    link = LinkReport(True, 1e6 * seconds, 1e6 * seconds, seconds, NOW)
    document = status_document(_report(window, link))
    assert document["requests"] == 1
    written = json.loads(json.dumps({k: v for k, v in document.items() if v is not None}, allow_nan=False))
    assert PlacementStatus.model_validate(written).loaded


@pytest.mark.parametrize(("share", "value"), [(0.5, 5), (0.95, 10), (0.9, 9), (0.1, 1)])
def test_a_quantile_is_the_nearest_rank(share: float, value: float) -> None:
    assert quantile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], share) == value


def test_a_quantile_of_nothing_is_none() -> None:
    assert quantile([], 0.5) is None


def test_links_to_other_nodes_are_listed_by_node_without_what_is_unknown() -> None:
    links = {
        "gate": LinkReport(True, 19.94e6, 15e6, 0.0012, NOW),
        "hub": LinkReport(False, None, None, None, None),
    }
    found = status_document(replace(_report(Window(), None), local_links=links))["localLinks"]
    assert [link["peer"] for link in found] == ["gate", "hub"]
    assert (found[0]["state"], found[0]["bandwidth"]) == ("Up", "19.9M")
    assert found[1] == {"peer": "hub", "state": "Down"}
