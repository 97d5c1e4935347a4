"""Re-planning: forecasts the bandwidth of a link and decides whether to switch routes."""

from edge_planning_lab.replanning.choices import Prospects, prospects
from edge_planning_lab.replanning.decisions import Decision, Replan, Stay, Switch, SwitchingSettings
from edge_planning_lab.replanning.forecasts import Forecast, forecast
from edge_planning_lab.replanning.observations import (
    BandwidthSample,
    LinkDown,
    NoReply,
    Nothing,
    Observation,
    ProbeSent,
    RoundTrip,
)
from edge_planning_lab.replanning.replans import observed, replan
from edge_planning_lab.replanning.routes import Routes, routes_of, routes_of_table
from edge_planning_lab.replanning.states import State, as_document, from_document

__all__ = [
    "BandwidthSample",
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
    "State",
    "Stay",
    "Switch",
    "SwitchingSettings",
    "as_document",
    "forecast",
    "from_document",
    "observed",
    "prospects",
    "replan",
    "routes_of",
    "routes_of_table",
]
