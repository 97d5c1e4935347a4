"""Counters continue over restarts, and what another process wrote is noticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from edge_runtime.status import Report, Window, status_document
from edge_runtime.status_reports import StatusReports

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Node:
    """A runtime's reports, and the Placement in the API server that they are written to."""

    def __init__(self, api: dict[str, Any], *, contact: bool = True) -> None:
        self.window, self.now, self.api = Window(), 0.0, api
        self.reports = StatusReports(self.window, lambda: self.now, lambda: NOW)
        if contact:
            self.reports.found(api)

    def serve(self, count: int, met: int) -> None:
        for n in range(count):
            self.window.add(self.now, 0.1, met=n < met)

    def report(self, route: str = "final@local") -> Report:
        summary = self.window.summary(self.now)
        moment = NOW + timedelta(seconds=self.now)
        return self.reports.complete(
            Report(1, True, "", route, "final", "local", None, summary, moment), None
        )

    def write(self, **more: Any) -> bool:
        """Writes the status if it is due; returns whether it was."""
        report = replace(self.report(), **more)
        if self.reports.due_in(report, None) != 0:
            return False
        self.reports.writing(report)
        written = {name: value for name, value in status_document(report).items() if value is not None}
        self.api["status"] = written
        self.reports.found(self.api)  # the watch may be faster than the response
        self.reports.wrote(report, None)
        return True

    @property
    def counted(self) -> tuple[int, int]:
        return self.api["status"]["requests"], self.api["status"]["met"]


def placement(uid: str = "u-1") -> dict[str, Any]:
    return {"metadata": {"name": "digits-edge-a", "uid": uid, "generation": 1}}


def test_a_restarted_runtime_continues_the_counters_that_it_finds() -> None:
    api = placement()
    first = Node(api)
    first.serve(10, 9)
    assert first.write()
    since = api["status"]["since"]
    second = Node(api)
    assert not second.write(), "it has nothing new to say"
    second.serve(5, 5)
    second.now = 60.0
    assert second.write()
    assert second.counted == (15, 14)
    assert api["status"]["since"] == since


def test_requests_before_the_first_contact_are_added() -> None:
    api = placement() | {"status": {"loaded": True, "requests": 100, "met": 90, "since": NOW.isoformat()}}
    node = Node(api, contact=False)
    node.serve(7, 6)
    node.reports.found(api)
    node.now = 60.0
    assert node.write()
    assert node.counted == (107, 96)


def test_a_new_placement_of_the_same_name_counts_from_zero() -> None:
    api = placement()
    node = Node(api)
    node.serve(10, 10)
    node.write()
    api.update(placement("u-2"))
    del api["status"]
    node.reports.found(api)
    node.serve(3, 2)
    assert node.write()
    assert node.counted == (3, 2)


def test_a_report_that_another_pod_wrote_over_this_one_is_corrected() -> None:
    api = placement()
    node = Node(api)
    node.serve(10, 10)
    node.write()
    api["status"] |= {"activeRoute": "other", "requests": 12, "lastUpdated": "2026-01-02T03:05:00Z"}
    node.reports.found(api)
    assert node.write()
    assert api["status"]["activeRoute"] == "final@local"
    assert node.counted == (12, 10), "counters do not fall"


def test_a_report_that_another_pod_wrote_in_the_same_second_is_corrected() -> None:
    api = placement()
    node = Node(api)
    node.write()
    api["status"] |= {"loaded": False, "reason": "CannotLoad", "message": "the model store is away"}
    node.reports.found(api)
    assert node.write()
    assert api["status"]["loaded"] is True


def test_a_late_event_of_an_own_report_makes_nothing_due() -> None:
    api = placement()
    node = Node(api)
    node.write()
    early = {**api, "status": dict(api["status"])}
    node.now = 1.0
    node.write(route="other")
    node.reports.found(early)
    report = replace(node.report(), route="other")
    assert node.reports.due_in(report, None) is None


def test_the_report_of_an_earlier_version_is_replaced_and_its_numbers_are_not_continued() -> None:
    node = Node(placement() | {"status": {"loaded": True, "requests": 80, "attainment": "0.9"}})
    node.serve(2, 2)
    assert node.write()
    assert node.counted == (2, 2)
