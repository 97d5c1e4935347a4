"""Costs of the stages of a Placement at each measured shape, by which runtimes route requests. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edge_api import Placement, placements
from edge_api.quantities import Duration
from edge_operator.pool import manifests, shapes
from edge_operator.pool.results import Ready
from edge_planning import ClassProfile, EntryProblem, plans
from edge_planning.graphs.models import Exit
from edge_planning.responses import crossing


def with_shapes(
    placement: Placement,
    table: plans.RouteTable,
    ready: Ready,
    problem: EntryProblem,
    published: Placement | None = None,
) -> Placement:
    """Returns the Placement with the costs of its stages at each shape; as it is if only the batch is open.

    table, problem: from which the Placement was made. published: the one before, which has the bytes of
    routes that an operator read back after its start.
    """
    if ready.shape is None or ready.measured is None:
        return placement
    between = {each.name: each.profile.name for each in problem.intermediates}
    remote = problem.remote.name if problem.remote is not None else ""
    before = {} if published is None else {each.name: each.stages for each in published.spec.routes}
    at = _ShapedCosts(ready, problem.entry.name, remote, between, before)
    routes = tuple(
        route.model_copy(update={"stages": at.stages(route, planned)})
        for route, planned in zip(placement.spec.routes, table.routes, strict=True)
    )
    placed = shapes.placed(ready.shape.shape, ready.card.shapes)
    spec = placement.spec.model_copy(update={"routes": routes, "shapes": placed})
    return placement.model_copy(update={"spec": spec})


class _ShapedCosts:
    """Profiles of device classes at each shape of the metadata."""

    def __init__(
        self,
        ready: Ready,
        entry: str,
        remote: str,
        between: Mapping[str, str],
        before: Mapping[str, Sequence[placements.Stage]],
    ) -> None:
        self._card, self._between, self._before = ready.card, between, before
        self._entry, self._remote = entry, remote
        model = manifests.planned_model("", ready.card)
        self._exits: Mapping[str, Exit] = {each.name: each for each in model.exits}
        measured = ready.measured or {}
        self._profiles: Mapping[str, Sequence[ClassProfile]] = {
            name: [
                manifests.class_profile(shapes.profile_at(each, shapes.shape_of(shape)))
                for shape in ready.card.shapes
            ]
            for name, each in measured.items()
        }

    def stages(self, route: placements.Route, planned: plans.Route) -> tuple[placements.Stage, ...]:
        exit_ = self._exits[planned.exit]
        ends = [cut for cut in (planned.cut, planned.second_cut) if cut is not None]
        places = [each for each in self._places(planned) if each is not None]
        head = route.stages[0].address is None
        starts = [None, *ends] if head else ends
        stages = []
        ends_of = [*starts[1:], None]
        for stage, start, end, (place, packed) in zip(route.stages, starts, ends_of, places, strict=True):
            found = self._at(place, packed=packed)
            compute = (
                None if found is None else tuple(Duration(_between(p, exit_, start, end)) for p in found)
            )
            sent = self._sent(planned, start) if stage.runtime == "Triton" else None
            stages.append(stage.model_copy(update={"compute_at": compute, "bytes_at": sent}))
        return tuple(stages)

    def _at(self, device_class: str, *, packed: bool) -> Sequence[ClassProfile] | None:
        """The profiles of a class, by shape, with packed weights or without."""
        found = self._profiles.get(device_class)
        return found if packed or found is None else [replace(each, packed=False) for each in found]

    def _places(self, planned: plans.Route) -> tuple[tuple[str, bool] | None, ...]:
        """The device classes of the stages, in order, and whether their weights are packed.

        None for a place without a stage.
        """
        middle = self._between.get(planned.intermediate or "")
        return (
            None if planned.head is None else (self._entry, planned.packed is not False),
            None if middle is None else (middle, planned.intermediate_packed is not False),
            None if planned.tail is None else (self._remote, True),
        )

    def _sent(self, planned: plans.Route, cut: str | None) -> tuple[int, ...] | None:
        if not planned.bits:
            stages = self._before.get(planned.name, ())
            return next((stage.bytes_at for stage in stages if stage.runtime == "Triton"), None)
        exit_ = next(each for each in self._card.exits if each.name == planned.exit)
        found = next((each for each in exit_.cuts if each.tensor == cut), None)
        if found is None or not found.bytes_at or not found.bytes:
            return None
        # A codec sends the same share of the bytes at each shape, and responses are not encoded. Whole bytes,
        # as they are published, so that a restarted operator renders the same.
        encoded = (-(-planned.bits // 8) - crossing(exit_.response_bytes)) / found.bytes
        back = exit_.response_bytes_at or (exit_.response_bytes,) * len(found.bytes_at)
        return tuple(
            round(each * encoded) + crossing(response)
            for each, response in zip(found.bytes_at, back, strict=True)
        )


def _between(profile: ClassProfile, exit_: Exit, start: str | None, end: str | None) -> float:
    """Returns the mean seconds from one cut to another; None: the inputs, the outputs of the exit."""
    if start is None and end is None:
        return profile.whole(exit_)
    names, means = [cut.name for cut in exit_.cuts], profile.means(exit_)
    first = 0 if start is None else names.index(start)
    last = len(names) if end is None else names.index(end)
    return sum(means[first:last])
