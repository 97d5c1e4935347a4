"""When a runtime measures a link by itself that another runtime measures for it. Pure.

The operator tells what the other one measured. Transfers of this runtime count as well: they are newer than
any received value, and probes check what contradicts it.
"""

from __future__ import annotations

from collections.abc import Iterable

from edge_api.told_links import ToldLink
from edge_runtime.links.probe_budgets import Why


def newest(told: Iterable[ToldLink]) -> ToldLink | None:
    """What was received last: the Placements of all services of a runtime tell of the same link."""
    return max(told, key=lambda link: link.told, default=None)


def is_elsewhere(told: ToldLink | None) -> bool:
    """Whether another runtime measures the link."""
    return told is not None and told.measured == "Elsewhere"


def probes(told: ToldLink | None, why: Why) -> bool:
    """Whether to send a probe for this purpose. told: what still holds; None if nothing does."""
    if told is None or told.measured == "Here":
        return True
    if why is Why.DOWN:  # transfers of this runtime failed on a link that works for the other one
        return told.state == "Up"
    return why is not Why.IDLE
