"""Margins of compute times, from the residuals that runtimes report in Placement.status. Pure."""

import json
from collections.abc import Iterable, Mapping

from edge_api import Placement
from edge_operator.names import MARGINS_ANNOTATION
from edge_operator.pool_nodes import PoolMember
from edge_operator.store_answers import DeviceProfile
from edge_planning import EntryProblem
from edge_planning.costs import margins

Ratios = Mapping[str, tuple[float, ...]]
"""Measured over predicted compute times, by exit."""


def ratios(
    placements: Mapping[str, Placement],
    members: Iterable[PoolMember],
    costs: Mapping[str, DeviceProfile],
    member: PoolMember,
) -> Ratios:
    """Returns the ratios of all entry nodes of the member's class, for the profiled model."""
    alike = {each.node.name for each in members if each.device_class == member.device_class}
    model = costs[member.device_class].model
    found: dict[str, tuple[float, ...]] = {}
    for node in sorted(alike & placements.keys()):
        placement = placements[node]
        if placement.status is not None and placement.spec.model.digest == model:
            for each in placement.status.residuals or ():
                found[each.exit] = (*found.get(each.exit, ()), *each.ratios)
    return found


def planned_margins(problem: EntryProblem, published: Placement | None, found: Ratios) -> dict[str, float]:
    """Returns the margins that differ from the profile's, by exit; the published ones as far as they hold."""
    before, percentile = _published(published), problem.slo.percentile
    planned = {}
    for exit_ in problem.model.exits:
        measured = problem.entry.margin(exit_, percentile)
        margin = margins.planned_margin(
            found.get(exit_.name, ()), percentile, before.get(exit_.name, measured)
        )
        if margin != measured:
            planned[exit_.name] = float(f"{margin:.4g}")
    return planned


def annotations(planned: Mapping[str, float]) -> dict[str, str]:
    """Returns the annotation from which the next plan starts."""
    return {MARGINS_ANNOTATION: json.dumps(dict(planned), sort_keys=True)} if planned else {}


def _published(placement: Placement | None) -> dict[str, float]:
    """Returns the margins of a Placement's annotation; none if it is not as written."""
    try:
        text = placement.metadata.annotations.get(MARGINS_ANNOTATION, "{}") if placement is not None else "{}"
        found = json.loads(text)
        return {str(name): min(max(float(value), 1.0), margins.LIMIT) for name, value in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
