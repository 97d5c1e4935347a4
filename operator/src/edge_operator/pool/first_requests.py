"""Models that refuse generated inputs: runtimes measure them on the inputs of the first requests. Pure.

These inputs stay in the memory of the runtimes at the entry nodes, which report times alone. Of each device
class one node measures at a time: the one that does, else the one with the fewest failed attempts.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from edge_api import Placement
from edge_api.first_requests import FirstRequestsStatus, FirstRequestsTurn, RequestProfile
from edge_api.modelprofiles import ClassCosts
from edge_operator.names import label_value
from edge_operator.pool import manifests, measurements
from edge_operator.pool_nodes import PoolMember
from edge_operator.store_answers import DeviceProfile, ModelCard

_SHOWN = 8

Placements = Mapping[str, Placement]
"""Of a service, by node."""


@dataclass(frozen=True, slots=True)
class FirstRequests:
    """What the runtimes of a device class do. turns: by node. message: of the condition."""

    turns: Mapping[str, FirstRequestsTurn]
    message: str

    @property
    def measuring(self) -> bool:
        """Whether one of them measures."""
        return "Measure" in self.turns.values()


def reports(placements: Placements) -> tuple[tuple[str, FirstRequestsStatus], ...]:
    """Returns what runtimes report that keep inputs, by node."""
    return tuple((node, found) for node in sorted(placements) if (found := _report(placements[node])))


def measured(
    card: ModelCard,
    refused: Mapping[str, DeviceProfile],
    members: Iterable[PoolMember],
    placements: Placements,
) -> dict[str, DeviceProfile]:
    """Returns the measurements that runtimes report, by device class.

    refused: the profiles of the classes on which the model refused generated inputs. members: entry nodes.
    """
    found: dict[str, DeviceProfile] = {}
    for member in members:
        report = _report(placements.get(member.node.name))
        profile = report.profile if report is not None else None
        name = member.device_class
        if profile is None or name not in refused or name in found or profile.model != card.digest:
            continue
        read = _device_profile(profile, refused[name], card, member.node.name)
        found |= measurements.usable({name: read}, card)
    return found


def turns(
    refused: DeviceProfile, members: Iterable[PoolMember], placements: Placements, busy: Collection[str]
) -> FirstRequests:
    """Returns what the runtimes of one device class do next.

    members: its entry nodes. busy: labels of nodes with another measurement, which would disturb this one.
    """
    here = [member.node.name for member in members if member.node.ready]
    found = {node: _report(placements.get(node)) or FirstRequestsStatus() for node in here}
    order = [(found[n].attempts, not _measures(placements.get(n)), n) for n in here if found[n].kept]
    free = [node for _, _, node in sorted(order) if label_value(node) not in busy]
    chosen = free[0] if free else ""
    said = f"not measured on {refused.node}: {refused.refused}; {_doing(here, chosen, found)}"
    return FirstRequests({node: "Measure" if node == chosen else "Keep" for node in here}, said)


def _doing(here: list[str], chosen: str, found: Mapping[str, FirstRequestsStatus]) -> str:
    failed = "; ".join(
        f"attempt {found[node].attempts} at {node} failed: {found[node].message}"
        for node in here
        if found[node].attempts
    )
    if chosen:
        doing = f"{chosen} measures it on the inputs of requests while it computes none"
    else:
        where = ", ".join(here[:_SHOWN]) or "entry nodes that are Ready"
        doing = f"it is measured on the first requests at one of {where}"
    return f"{doing} ({failed})" if failed else doing


def _report(placement: Placement | None) -> FirstRequestsStatus | None:
    """Returns what a runtime reports that is to keep inputs; None for a report of an earlier turn."""
    if placement is None or placement.spec.first_requests is None or placement.status is None:
        return None
    return placement.status.first_requests


def _measures(placement: Placement | None) -> bool:
    return placement is not None and placement.spec.first_requests == "Measure"


def _device_profile(
    profile: RequestProfile, refused: DeviceProfile, card: ModelCard, node: str
) -> DeviceProfile:
    """Returns a report as the profile of a device class. Processor times of requests are those of the Job."""
    named = {exit_.end: exit_.name for exit_ in card.exits}
    exits = tuple(
        each.model_copy(update={"exit": named[each.output]}) for each in profile.exits if each.output in named
    )
    costs = ClassCosts.model_construct(
        name=refused.device_class,
        selection=refused.selection or None,
        node=node,
        threads=profile.threads,
        execution_provider=profile.execution_provider,
        measured_on="Requests",
        segments=profile.segments,
        exits=exits,
        relative_error=profile.relative_error,
        shapes=profile.shapes,
    )
    found = manifests.device_profile(profile.model, costs, {exit_.name: exit_.end for exit_ in card.exits})
    return found.model_copy(update={"requests": refused.requests})
