"""Dashboards as pages: values in their units, stacked series, rows of tables, and panels without data."""

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.dashboards.drawing import WIDTH, Data, moments, page, quantity
from testbed.dashboards.reading import named, panels, variables

BOARDS = Path(__file__).parents[2] / "charts" / "edge-intelligence" / "files" / "dashboards"


def board(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((BOARDS / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0312, "percentunit", "3.12%"),
        (0.0421, "s", "42.1 ms"),
        (2.5, "s", "2.5 s"),
        (19_900_000, "bps", "19.9 Mb/s"),
        (4096, "bytes", "4.1 kB"),
        (12.345, "reqps", "12.3 req/s"),
        (3, "short", "3"),
        (0.25, "joule", "0.25 J"),
        (float("nan"), "short", "–"),
    ],
)
def test_a_value_has_its_unit(value: float, unit: str, shown: str) -> None:
    assert quantity(value, unit) == shown


def test_the_time_axis_has_whole_minutes_at_equal_distances() -> None:
    assert moments(90.0, 380.0) == [120.0, 180.0, 240.0, 300.0, 360.0]
    assert moments(30.0, 930.0) == [120.0, 240.0, 360.0, 480.0, 600.0, 720.0, 840.0]
    assert moments(10.0, 50.0) == []


def test_a_legend_has_the_labels_of_its_series() -> None:
    assert named("{{node}} to {{peer}}", {"node": "edge-a", "peer": "cloud"}) == "edge-a to cloud"
    assert named("__auto", {"b": "2", "a": "1"}) == "a=1, b=2"


def test_every_panel_is_on_the_page_also_without_data() -> None:
    for path in BOARDS.glob("*.json"):
        dashboard = board(path.stem)
        found = list(panels(dashboard))
        text, height = page(dashboard, [Data({}, 0.0, 60.0)] * len(found), "")
        assert text.count('class="panel"') == text.count("No data") == len(found)
        assert height > 400
        assert WIDTH == 24 * 60 + 8


def test_a_graph_draws_each_series_and_limits_dashed() -> None:
    dashboard = board("edge-service")
    chosen = next(panel for panel in panels(dashboard) if panel["title"] == "Latency against the SLO")
    series = [{"metric": {}, "values": [[0, "0.02"], [30, "0.04"], [60, "NaN"]]}]
    data = Data(dict.fromkeys("ABCD", series), 0.0, 60.0)
    text, _ = page({**dashboard, "panels": [chosen]}, [data], "")
    assert text.count("<polyline") == 4
    assert text.count("stroke-dasharray") == 1
    assert ">SLO</span>" in text


def test_a_table_has_a_row_for_each_service_the_worst_first() -> None:
    dashboard = board("edge-fleet")
    table = next(panel for panel in panels(dashboard) if panel["type"] == "table")

    def rows(*values: float) -> list[dict[str, Any]]:
        labels = {"namespace": "shop", "tenant": "red", "pool": "factory"}
        return [
            {"metric": {**labels, "service": f"s{i}"}, "value": [0, str(value)]}
            for i, value in enumerate(values)
        ]

    data = Data({"A": rows(0.9, 0.1), "B": rows(0.99, 0.9)}, 0.0, 60.0)
    text, _ = page({**dashboard, "panels": [table]}, [data], "")
    assert text.index("<td>s1</td>") < text.index("<td>s0</td>")
    assert "<th>Namespace</th><th>Service</th><th>Tenant</th><th>Pool</th><th>Budget left</th>" in text


def test_names_are_text_and_not_markup() -> None:
    dashboard = board("edge-fleet")
    table = next(panel for panel in panels(dashboard) if panel["type"] == "table")
    series = [{"metric": {"service": "<b>x</b>"}, "value": [0, "1"]}]
    text, _ = page({**dashboard, "panels": [table]}, [Data({"A": series}, 0.0, 60.0)], "")
    assert "<b>x</b>" not in text


def test_variables_are_queried_in_their_order() -> None:
    found = variables(board("edge-service"))
    assert [(each.name, each.label, each.several) for each in found] == [
        ("namespace", "namespace", False),
        ("service", "service", False),
    ]
    assert found[1].selector == 'edge_slo_objective{namespace="$namespace"}'
