"""Re-planning: forecasts the bandwidth of a link and decides whether to switch routes."""

from edge_planning.replanning.choices import Prospects, prospects
from edge_planning.replanning.decisions import Decision, Replan, Settings, Stay, Switch
from edge_planning.replanning.forecasts import Forecast, forecast
from edge_planning.replanning.observations import (
    LinkDown,
    NoReply,
    Nothing,
    Observation,
    ProbeSent,
    RoundTrip,
    Sample,
)
from edge_planning.replanning.replans import observed, replan
from edge_planning.replanning.routes import Routes, routes_of, routes_of_table
from edge_planning.replanning.states import State, as_document, from_document

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
