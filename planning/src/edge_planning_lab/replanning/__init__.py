"""Re-planning: forecasts the bandwidth of a link and decides whether to switch routes."""

from edge_planning_lab.replanning.choices import Prospects, prospects
from edge_planning_lab.replanning.decisions import Decision, Replan, Settings, Stay, Switch
from edge_planning_lab.replanning.forecasts import Forecast, forecast
from edge_planning_lab.replanning.observations import (
    LinkDown,
    NoReply,
    Nothing,
    Observation,
    ProbeSent,
    RoundTrip,
    Sample,
)
from edge_planning_lab.replanning.replans import observed, replan
from edge_planning_lab.replanning.routes import Routes, routes_of, routes_of_table
from edge_planning_lab.replanning.states import State, as_document, from_document

__all__ = [
    "Decision",
    "Forecast",
    "LinkDown",
    "NoReply",
    "Nothing",
    "Observation",
    "ProbeSent",
    "Prospects",
    "Replan",
    "RoundTrip",
    "Routes",
    "Sample",
    "Settings",
    "State",
    "Stay",
    "Switch",
    "as_document",
    "forecast",
    "from_document",
    "observed",
    "prospects",
    "replan",
    "routes_of",
    "routes_of_table",
]
