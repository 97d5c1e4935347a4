"""Reasons of the condition SLOMet."""

from typing import Final

from edge_api.reason_registry import NOTHING, SLO_MET, registered

OBJECTIVE_MET: Final = registered(
    "ObjectiveMet", (SLO_MET,), "Enough of the requests of 5 minutes met the SLO.", NOTHING
)
OBJECTIVE_MISSED: Final = registered(
    "ObjectiveMissed",
    (SLO_MET,),
    "Too many of the requests of 5 minutes took longer than spec.slo.latency.",
    "Look at the entry node that the message names; `ei explain` shows what limits its plan.",
)
NO_REQUESTS: Final = registered("NoRequests", (SLO_MET,), "There were no requests for 5 minutes.", NOTHING)
