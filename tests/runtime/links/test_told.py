"""Which probes a runtime sends that receives the values of a link."""

from __future__ import annotations

import pytest

from edge_api.told_links import LINKS_ANNOTATION, ToldLink, read_links, write_links
from edge_runtime.links.probe_budgets import Why
from edge_runtime.links.told import is_elsewhere, newest, probes
from edge_runtime.told_links import told_links

HERE = ToldLink(measured="Here", told="2026-03-01T12:00:00Z")
UP = ToldLink(measured="Elsewhere", told="2026-03-01T12:00:01Z")
DOWN = ToldLink(measured="Elsewhere", told="2026-03-01T12:00:02Z", state="Down")


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        (None, set(Why)),
        (HERE, set(Why)),
        (UP, {Why.QUESTION, Why.UNKNOWN, Why.DOWN}),
        (DOWN, {Why.QUESTION, Why.UNKNOWN}),
    ],
)
def test_only_what_contradicts_a_received_value_is_probed(told: ToldLink | None, sent: set[Why]) -> None:
    assert {why for why in Why if probes(told, why)} == sent


def test_the_newest_value_counts() -> None:
    assert newest([UP, DOWN, HERE]) == DOWN
    assert newest([]) is None
    assert [is_elsewhere(told) for told in (None, HERE, UP)] == [False, False, True]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"cloud": {}}', '{"cloud": {"measured": "Never"}}', None, 7]
)
def test_an_annotation_that_cannot_be_read_is_ignored(text: object) -> None:
    assert told_links({"annotations": {LINKS_ANNOTATION: text}}) == {}


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}, {"annotations": []}])
def test_a_placement_without_annotations_has_no_values(metadata: object) -> None:
    assert told_links(metadata) == {}


def test_what_is_written_is_read_and_a_newer_operators_fields_are_ignored() -> None:
    links = {"cloud": UP, "edge-b": DOWN}
    text = write_links(links)
    assert read_links({LINKS_ANNOTATION: text}) == links
    assert read_links({LINKS_ANNOTATION: text.replace('"told"', '"later":1,"told"')}) == links
