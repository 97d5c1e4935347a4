"""From the requests at a node to whether services fare worse with a new version of its runtime."""

from dataclasses import replace

import pytest

from edge_api import reasons
from edge_operator.nodes import version_watch
from edge_operator.nodes.version_watch import QUIET, WINDOW, Counted, Served, Watch, begun, looked

GOOD = Counted(1000, 990)
"""Of the former version: 1 % of the requests missed the SLO, and 5 % can."""


def services(counted: Counted, interval: float = 8.0) -> dict[str, Served]:
    return {"digits": Served(counted, 0.05, interval, "90ms")}


def more(requests: int, met: int, failed: int = 0, of: Counted = GOOD, *, loaded: bool = True) -> Counted:
    return Counted(of.requests + requests, of.met + met, of.failed + failed, loaded)


def watched(before: Counted = GOOD) -> Watch:
    """A version whose pod began to serve at second 0."""
    return looked(begun("new", services(before)), "cam", services(before), 0.0, serving=True)


def after(watch: Watch, counted: Counted, at: float = WINDOW, interval: float = 8.0) -> Watch:
    return looked(watch, "cam", services(counted, interval), at, serving=True)


def test_counting_begins_when_the_pod_of_the_version_serves() -> None:
    first = begun("new", services(GOOD))
    assert looked(first, "cam", services(GOOD), 5.0, serving=False) == first
    found = looked(first, "cam", services(GOOD), 5.0, serving=True)
    assert (found.phase, found.since, found.start) == ("Watched", 5.0, {"digits": GOOD})


@pytest.mark.parametrize(
    ("requests", "missed", "worse"), [(40, 4, False), (40, 5, True), (400, 28, False), (400, 29, True)]
)
def test_a_version_is_worse_if_misses_exceed_what_the_objective_allows_by_two_deviations(
    requests: int, missed: int, worse: bool
) -> None:
    found = after(watched(), more(requests, requests - missed))
    assert (found.phase == "Watched", found.worse) == (worse, int(worse))


def test_a_service_that_missed_as_much_before_is_not_worse_off() -> None:
    before = Counted(1000, 700)
    found = after(watched(before), more(100, 65, of=before))
    assert found.phase == "Kept"


def test_a_second_window_in_which_the_slo_is_met_keeps_the_version() -> None:
    starting = after(watched(), more(40, 20))
    assert starting.worse == 1
    found = after(starting, more(80, 60), at=2 * WINDOW)
    assert (found.phase, found.fault) == ("Kept", None)


def test_two_worse_windows_return_the_version_and_tell_why() -> None:
    found = after(after(watched(), more(40, 20)), more(80, 40), at=2 * WINDOW)
    assert found.phase == "Returning"
    assert found.fault is not None
    assert (found.fault.version, found.fault.reason) == ("new", reasons.RUNTIMES_MISS_SLO)
    assert "cam: digits: 20 of 40 requests missed 90ms" in found.fault.message


@pytest.mark.parametrize(("failed", "phase"), [(2, "Watched"), (3, "Returning")])
def test_errors_return_the_version_at_once(failed: int, phase: str) -> None:
    found = after(watched(), more(10, 10 - failed, failed), at=1.0)
    assert found.phase == phase


def test_errors_that_came_as_often_before_do_not_count() -> None:
    before = Counted(1000, 500, 500)
    assert after(watched(before), more(10, 5, 5, of=before), at=1.0).phase == "Watched"


def test_a_lost_table_counts_as_a_miss_in_each_window() -> None:
    lost = more(0, 0, loaded=False)
    found = after(after(watched(), lost), lost, at=2 * WINDOW)
    assert found.fault is not None
    assert "its table is not loaded any more" in found.fault.message


def test_a_window_lasts_two_reports_and_twice_as_long_where_few_requests_come() -> None:
    assert after(watched(), more(400, 0), at=WINDOW, interval=60.0).phase == "Watched"
    assert after(watched(), more(19, 0), at=QUIET * WINDOW - 1).phase == "Watched"
    assert after(watched(), more(19, 0), at=QUIET * WINDOW).phase == "Kept"


def test_a_node_without_requests_keeps_the_version_after_a_window() -> None:
    assert after(watched(), GOOD, at=WINDOW - 1).phase == "Watched"
    assert after(watched(), GOOD).phase == "Kept"


def test_a_service_that_came_after_the_version_is_not_judged() -> None:
    both = services(more(400, 400)) | {"newer": Served(Counted(40, 0, 40), 0.05, 8.0, "90ms")}
    assert looked(watched(), "cam", both, WINDOW, serving=True).phase == "Kept"


def test_a_placement_that_was_created_again_counts_from_zero() -> None:
    found = after(watched(), Counted(40, 39))
    assert found.phase == "Kept"


def test_a_deployment_keeps_a_watch_for_an_operator_that_restarts() -> None:
    fault = version_watch.Fault("newer", reasons.RUNTIMES_FAIL, "cam: digits: 3 of 4 requests")
    watch = replace(after(watched(), more(40, 20)), fault=fault)
    body = {"metadata": {"annotations": version_watch.note(watch)}}
    assert version_watch.read(body) == watch


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1, "others": 2}', '{"before": {"digits": 3}}'])
def test_an_annotation_that_cannot_be_read_is_left_out(text: str) -> None:
    annotations = {"edge-intelligence.io/runtime-version": text}
    assert version_watch.read({"metadata": {"annotations": annotations}}) is None
