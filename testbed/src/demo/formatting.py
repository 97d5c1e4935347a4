"""Formats numbers for the tables of the terminal and the report. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PHASE_COLUMNS = (
    "link",
    "measured",
    "exit",
    "cut",
    "p50",
    "p95",
    "accuracy so far",
    "SLO met",
    "requests",
    "failed",
)
MODE_COLUMNS = ("mode", "requests", "failed", "SLO met", "accuracy", "met x accuracy", "p50", "p95")


def rate(bps: float | None) -> str:
    """Formats bit/s as `3.92 Mbit/s`; `-` if not measured."""
    return "-" if bps is None else f"{bps / 1e6:.3g} Mbit/s"


def milliseconds(seconds: float | None) -> str:
    """Formats seconds as `41 ms`."""
    return "-" if seconds is None else f"{seconds * 1e3:.0f} ms"


def share(value: float | None) -> str:
    """Formats a share of 1 as `97.5 %`."""
    return "-" if value is None else f"{value * 100:.1f} %"


def mode_cells(name: str, mode: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns a mode's row of the comparison, from its entry in the report."""
    met, accuracy = mode["slo_attainment"], mode["accuracy"]
    return (
        name,
        str(mode["requests"]),
        str(mode["failed"]),
        share(met),
        share(accuracy),
        "-" if met is None else f"{met * (accuracy or 0.0):.3f}",
        milliseconds(mode["p50_s"]),
        milliseconds(mode["p95_s"]),
    )
