"""Panels and variables as all dashboards have them, by the builders of Grafana's foundation SDK."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG: Final = "edge-intelligence"
RATE: Final = "$__rate_interval"
WIDTH: Final = 24
"""Columns of a dashboard."""

Steps = Sequence[tuple[float | None, str]]
"""Values from which a color applies, from the lowest (None: from any) to the highest."""
PLAIN: Final[Steps] = ((None, "blue"),)
GOOD_IF_HIGH: Final[Steps] = ((None, "red"), (0.2, "orange"), (0.5, "green"))
GOOD_IF_ZERO: Final[Steps] = ((None, "green"), (1, "red"))
GOOD_IF_SLOW: Final[Steps] = ((None, "green"), (1, "orange"), (6, "red"))
BAD_IF_ZERO: Final[Steps] = ((None, "red"), (1, "green"))


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and the name of its series: text with labels in double braces."""

    expression: str
    legend: str = ""


AnyPanel = TypeVar("AnyPanel", timeseries.Panel, stat.Panel, table.Panel)
Panel = timeseries.Panel | stat.Panel | table.Panel


def _titled(panel: AnyPanel, title: str, description: str, unit: str, span: int, height: int) -> AnyPanel:
    shown = panel.title(title).description(description).unit(unit)
    return shown.datasource(SOURCE).span(span).height(height)


def _target(index: int, query: Query, *, instant: bool, as_table: bool = False) -> prometheus.Dataquery:
    target = prometheus.Dataquery().datasource(SOURCE).expr(query.expression).ref_id(chr(ord("A") + index))
    target = target.legend_format(query.legend or "__auto")
    target = target.format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES)
    return target.instant() if instant else target.range()


def _thresholds(steps: Steps) -> dashboards.ThresholdsConfig:
    found = [dashboard.Threshold(value=value, color=color) for value, color in steps]
    return dashboards.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(found)


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    limits: str = "",
    maximum: float | None = None,
    span: int = 8,
) -> timeseries.Panel:
    """Returns a graph over time. limits: a pattern of names of series that are drawn dashed, without fill."""
    panel = _titled(timeseries.Panel(), title, description, unit, span, 8)
    legend = common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
    panel = panel.legend(legend.placement(common.LegendPlacement.BOTTOM).show_legend(True))
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    panel = panel.tooltip(tooltip.sort(common.SortOrder.DESCENDING))
    panel = panel.min(0).line_width(1).show_points(common.VisibilityMode.NEVER)
    panel = panel.fill_opacity(30 if stacked else 5)
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if maximum is not None:
        panel = panel.max(maximum)
    if limits:
        dashed = {"fill": "dash", "dash": [8, 6]}
        panel = panel.override_by_regexp(
            limits,
            [
                dashboard.DynamicConfigValue("custom.lineStyle", dashed),
                dashboard.DynamicConfigValue("custom.fillOpacity", 0),
                dashboard.DynamicConfigValue("custom.stacking", {"mode": "none"}),
            ],
        )
    for index, query in enumerate(queries):
        panel = panel.with_target(_target(index, query, instant=False))
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    expression: str,
    *,
    steps: Steps = PLAIN,
    words: Mapping[int, str] | None = None,
    span: int = 4,
) -> stat.Panel:
    """Returns the newest value as a number. words: texts for values."""
    panel = _titled(stat.Panel(), title, description, unit, span, 4)
    reduced = common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    panel = panel.reduce_options(reduced).graph_mode(common.BigValueGraphMode.NONE)
    panel = panel.color_mode(common.BigValueColorMode.VALUE).thresholds(_thresholds(steps))
    if words:
        texts = {str(value): dashboard.ValueMappingResult(text=text) for value, text in words.items()}
        panel = panel.mappings([dashboard.ValueMap(options=texts)])
    return panel.with_target(_target(0, Query(expression, title), instant=True))


@dataclass(frozen=True, slots=True)
class Field:
    """A column of numbers of a table. link: the uid of the dashboard that the row leads to."""

    name: str
    expression: str
    unit: str
    steps: Steps = PLAIN


def rows(
    title: str,
    description: str,
    labels: Mapping[str, str],
    columns: Sequence[Field],
    *,
    sort: str,
    link: str = "",
    descending: bool = False,
    span: int = WIDTH,
    height: int = 8,
) -> table.Panel:
    """Returns a table with a row for each value of the labels; their names by label. sort: a column.

    link: address of a dashboard with `${__data.fields.…}` for values of the row, behind the first label.
    """
    panel = _titled(table.Panel(), title, description, "short", span, height)
    for index, column in enumerate(columns):
        query = Query(column.expression, column.name)
        panel = panel.with_target(_target(index, query, instant=True, as_table=True))
    names = {f"Value #{chr(ord('A') + i)}": column.name for i, column in enumerate(columns)}
    order = {name: index for index, name in enumerate([*labels, *names])}
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": {**labels, **names}}
    panel = panel.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
    panel = panel.with_transformation(dashboard.DataTransformerConfig("organize", options=options))
    by = common_builders.TableSortByFieldState().display_name(sort).desc(descending)
    panel = panel.sort_by([by])
    for column in columns:
        steps = [{"value": value, "color": color} for value, color in column.steps]
        properties = [
            dashboard.DynamicConfigValue("unit", column.unit),
            dashboard.DynamicConfigValue("thresholds", {"mode": "absolute", "steps": steps}),
            dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
        ]
        panel = panel.override_by_name(column.name, properties)
    if link:
        first = next(iter(labels.values()))
        target = [{"title": "Open", "url": link}]
        panel = panel.override_by_name(first, [dashboard.DynamicConfigValue("links", target)])
    return panel


def choice(name: str, label: str, query: str, *, several: bool = False) -> dashboards.QueryVariable:
    """Returns a variable with the values of a label. several: whether all or some can be chosen."""
    variable = dashboards.QueryVariable(name).label(label).datasource(SOURCE)
    variable = variable.query({"query": query, "refId": "values"})
    variable = variable.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable = variable.sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    if several:
        everything = dashboard.VariableOption(text="All", value="$__all")
        variable = variable.multi(True).include_all(True).all_value(".*").current(everything)
    return variable


def board(
    uid: str, title: str, description: str, variables: Sequence[dashboards.QueryVariable] = ()
) -> dashboards.Dashboard:
    """Returns an empty dashboard with the data source, the variables, and links to the others."""
    source = dashboards.DatasourceVariable("datasource").label("Data source").type("prometheus")
    links = dashboards.DashboardLink("Edge intelligence").type(dashboard.DashboardLinkType.DASHBOARDS)
    links = links.tags([TAG]).as_dropdown(False).include_vars(True).keep_time(True)
    made = dashboards.Dashboard(title).uid(uid).description(description).tags([TAG]).link(links)
    made = made.time("now-1h", "now").refresh("30s").timezone("browser").editable()
    made = made.tooltip(dashboard.DashboardCursorSync.CROSSHAIR).with_variable(source)
    for variable in variables:
        made = made.with_variable(variable)
    return made


def assembled(
    made: dashboards.Dashboard, rows_of_panels: Mapping[str, Sequence[Panel]]
) -> dashboards.Dashboard:
    """Returns the dashboard with its panels, below the heading of their row."""
    number_of_panel = 1
    for title, panels in rows_of_panels.items():
        made = made.with_row(dashboards.Row(title).id(number_of_panel))
        for index, panel in enumerate(panels, number_of_panel + 1):
            made = made.with_panel(panel.id(index))
        number_of_panel += len(panels) + 1
    return made
