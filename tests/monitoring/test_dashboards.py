"""What linters of dashboards find wrong in practice: conventions of the Kubernetes mixins."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from edge_monitoring.rules import (
    BUDGET_LEFT,
    BURN_RATE,
    ERROR_BUDGET,
    ERROR_RATIO,
    ERRORS,
    OBJECTIVE,
    REQUESTS,
)
from exported_metrics import exported
from rule_files import Document
from testbed.dashboards.reading import filled, panels, questions, variables

Boards = Mapping[str, Document]
RECORDED = {OBJECTIVE, ERROR_BUDGET, BUDGET_LEFT, REQUESTS, ERRORS, ERROR_RATIO, BURN_RATE}
UNITS = {"short", "percentunit", "s", "d", "bps", "Bps", "bytes", "reqps", "ops", "cpm", "joule", "watt"}


def every_panel(boards: Boards) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((uid, panel) for uid, board in boards.items() for panel in panels(board))


def every_expression(boards: Boards) -> Iterator[tuple[str, str]]:
    return (
        (f"{uid}: {panel['title']}", target["expr"])
        for uid, panel in every_panel(boards)
        for target in panel["targets"]
    )


def test_there_are_five_dashboards_with_stable_uids_and_more_than_thirty_panels(boards: Boards) -> None:
    assert {uid: board["uid"] for uid, board in boards.items()} == {
        name: name for name in ("edge-fleet", "edge-service", "edge-tenants", "edge-pool", "edge-operator")
    }
    assert len(list(every_panel(boards))) >= 60


def test_every_query_uses_the_data_source_that_is_chosen(boards: Boards) -> None:
    for board in boards.values():
        source = board["templating"]["list"][0]
        assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for uid, panel in every_panel(boards):
        assert panel["datasource"] == chosen, (uid, panel["title"])
        assert [target["datasource"] for target in panel["targets"]] == [chosen] * len(panel["targets"])


def test_every_panel_has_a_title_a_description_and_a_unit(boards: Boards) -> None:
    for uid, panel in every_panel(boards):
        assert panel["title"], uid
        assert panel["description"].endswith("."), (uid, panel["title"])
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, (uid, panel["title"])


def test_rates_use_the_interval_of_grafana(boards: Boards) -> None:
    for where, expression in every_expression(boards):
        ranges = re.findall(r"\[([^\]]+)\]", expression)
        assert set(ranges) <= {"$__rate_interval"}, where


def test_every_metric_of_a_query_is_exported_or_recorded(boards: Boards) -> None:
    for where, expression in every_expression(boards):
        plain = re.sub(r"\{[^{}]*\}", "", expression)
        named = set(re.findall(r"\b(?:edge|process)_\w+(?::\w+)*", plain)) - {"edge_slo"}
        assert named <= set(exported()) | RECORDED, where


def test_every_variable_is_used_and_every_used_one_is_defined(boards: Boards) -> None:
    for uid, board in boards.items():
        defined = {variable.name for variable in variables(board)}
        texts = [t["expr"] for p in panels(board) for t in p["targets"]]
        texts += [variable.selector for variable in variables(board)]
        used = {name for text in texts for name in re.findall(r"\$(\w+)", text)} - {"__rate_interval"}
        assert used == defined, uid


def test_panels_of_one_dashboard_have_different_ids_and_do_not_overlap(boards: Boards) -> None:
    for uid, board in boards.items():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids), uid
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24, (uid, panel["title"])
            assert not cells & taken, (uid, panel["title"])
            taken |= cells


def test_dashboards_lead_to_each_other_with_time_and_variables(boards: Boards) -> None:
    for uid, board in boards.items():
        [link] = board["links"]
        assert (link["type"], link["keepTime"], link["includeVars"]) == ("dashboards", True, True), uid
        assert link["tags"] == board["tags"] == ["edge-intelligence"], uid


def test_a_row_of_the_fleet_leads_to_its_service(boards: Boards) -> None:
    [table] = [
        panel for uid, panel in every_panel(boards) if uid == "edge-fleet" and panel["type"] == "table"
    ]
    properties = {
        each["id"]: each["value"]
        for override in table["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "links"
    }
    [link] = properties["links"]
    assert "var-namespace=${__data.fields.Namespace}" in link["url"]
    assert "${__url_time_range}" in link["url"]


def test_graphs_with_several_series_name_each(boards: Boards) -> None:
    for uid, panel in every_panel(boards):
        if panel["type"] == "timeseries":
            legends = [target["legendFormat"] for target in panel["targets"]]
            assert len(set(legends)) == len(legends), (uid, panel["title"])
            assert "__auto" not in legends, (uid, panel["title"])


def test_a_legend_names_labels_that_its_query_keeps(boards: Boards) -> None:
    for uid, panel in every_panel(boards):
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.findall(r"\bby \(([^()]*)\)", target["expr"])
            kept = {name.strip() for each in grouped for name in each.split(",")}
            kept |= {"window", "namespace", "service"} if "edge_slo:" in target["expr"] else set()
            assert named <= kept, (uid, panel["title"])


def test_variables_are_filled_in_by_their_whole_names(boards: Boards) -> None:
    values = {"service": "digits", "namespace": "default"}
    text = filled('m{a="$service", b="${namespace}"}[$__rate_interval] $services', values, "1m")
    assert text == 'm{a="digits", b="default"}[1m] $services'
    [first, *_] = questions(boards["edge-service"], values, "1m")
    assert first.expression == (
        'max(edge_slo_attainment_ratio{namespace="default", service="digits", window="5m"})'
    )
    assert first.instant
