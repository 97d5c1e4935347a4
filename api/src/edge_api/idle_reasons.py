"""Reasons of the condition Idle."""

from typing import Final

from edge_api.reason_registry import IDLE, NOTHING, registered

SESSIONS_RELEASED: Final = registered(
    "SessionsReleased",
    (IDLE,),
    "No request came for `spec.scaling.idleAfter`: the next one loads a session from the disk of its node.",
    NOTHING,
)
SESSIONS_LOADED: Final = registered(
    "SessionsLoaded", (IDLE,), "At least one entry node has the model loaded.", NOTHING
)
