"""Schedules by an oracle that knows all requests of a node and its link in advance."""

from edge_planning_lab.schedules.beam import AHEAD, WIDTH, beam_schedule
from edge_planning_lab.schedules.exhaustive import exhaustive_schedule
from edge_planning_lab.schedules.known import Decision, KnownRequests, Schedule, known_requests, worthwhile

__all__ = [
    "AHEAD",
    "WIDTH",
    "Decision",
    "KnownRequests",
    "Schedule",
    "beam_schedule",
    "exhaustive_schedule",
    "known_requests",
    "worthwhile",
]
