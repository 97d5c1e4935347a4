"""Margins of compute times, from the residuals that runtimes report in Placement.status. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from edge_api import Placement
from edge_operator.names import FACTOR_ANNOTATION, MARGINS_ANNOTATION
from edge_operator.pool_nodes import PoolMember
from edge_operator.store_answers import DeviceProfile
from edge_planning import EntryProblem
from edge_planning.costs import margins
from edge_planning.costs.node_factors import node_factors

Ratios = Mapping[str, tuple[float, ...]]
"""Measured over predicted compute times, by exit."""
_LEAST = 1e-3


@dataclass(frozen=True, slots=True)
class ClassRatios:
    """The ratios of a class.

    joined: of its nodes that are alike. own: of each other node. factors: by which these take longer.
    """

    joined: Ratios
    own: Mapping[str, Ratios]
    factors: Mapping[str, float]

    def of(self, node: str) -> Ratios:
        """Returns the ratios from which the margins of a node follow."""
        return self.own.get(node, self.joined)


def ratios(
    placements: Mapping[str, Placement],
    members: Iterable[PoolMember],
    costs: Mapping[str, DeviceProfile],
    member: PoolMember,
) -> ClassRatios:
    """Returns the ratios of all entry nodes of the member's class, for the profiled model.

    A node that is unlike the others has margins of its own, and no part in theirs.
    """
    alike = {each.node.name for each in members if each.device_class == member.device_class}
    model = costs[member.device_class].model
    reported = {
        node: {each.exit: each.ratios for each in status.residuals or () if each.ratios}
        for node in sorted(alike & placements.keys())
        if (status := placements[node].status) is not None and placements[node].spec.model.digest == model
    }
    medians = {
        node: {exit_: max(median(found), _LEAST) for exit_, found in each.items()}
        for node, each in reported.items()
    }
    before = {node: factor for node in reported if (factor := factor_of(placements[node])) is not None}
    factors = node_factors(medians, before)
    joined: dict[str, tuple[float, ...]] = {}
    for node, each in reported.items():
        if node not in factors:
            for exit_, found in each.items():
                joined[exit_] = (*joined.get(exit_, ()), *found)
    return ClassRatios(joined, {node: reported[node] for node in factors}, factors)


def factor_of(placement: Placement | None) -> float | None:
    """Returns by which factor compute takes longer than on other nodes of the class; None if it is alike."""
    try:
        text = placement.metadata.annotations.get(FACTOR_ANNOTATION, "") if placement is not None else ""
        return float(text) if text and float(text) > 0 else None
    except ValueError:
        return None


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
