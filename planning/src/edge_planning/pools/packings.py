"""The nodes at which a demand's weights are packed.

Packed weights make runs faster and take more memory (costs.packing). A demand has one problem for each
choice, so that a pool weighs the memory against the time like any other use. Of choices that are equally
good, the one with the most packed weights is preferred.
"""

from collections.abc import Callable
from dataclasses import replace

from edge_planning.costs.profiles import ClassProfile
from edge_planning.plans import RouteTable
from edge_planning.problems import EntryProblem


def unpacked(profile: ClassProfile) -> ClassProfile:
    """Returns the profile of the class without packed weights."""
    return replace(profile, packed=False)


def packings(
    problem: EntryProblem, without: Callable[[ClassProfile], ClassProfile] = unpacked
) -> tuple[EntryProblem, ...]:
    """Returns the problem with each choice of packed weights, the one with the most packed first.

    That is the problem alone unless it saves memory somewhere not to pack. The intermediate nodes of one
    choice all pack or all do not.

    without: As `unpacked`; a planner of many problems gives equal profiles as one object.
    """
    found = [problem]
    if _saves(problem.entry):
        found.append(replace(problem, entry=without(problem.entry)))
    if any(_saves(one.profile) for one in problem.intermediates):
        near = tuple(
            replace(one, profile=without(one.profile)) if _saves(one.profile) else one
            for one in problem.intermediates
        )
        found += [replace(one, intermediates=near) for one in found]
    return tuple(found)


def packs_like(problem: EntryProblem, table: RouteTable) -> bool:
    """Returns whether the routes of a table pack their weights as a problem has them."""
    near = {one.name: one.profile.packs for one in problem.intermediates}
    return all(
        route.packed in (None, problem.entry.packs)
        and route.intermediate_packed in (None, near.get(route.intermediate or ""))
        for route in table.routes
    )


def _saves(profile: ClassProfile) -> bool:
    return profile.packed and profile.packing is not None and profile.packing.saves
