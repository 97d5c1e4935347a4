"""Shapes of requests: what to measure and to plan for, and metadata and measurements at that shape. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from edge_api import Placement
from edge_api.model_inputs import ModelInput
from edge_api.modelprofiles import ClassCosts
from edge_api.placements import PlacedShapes
from edge_api.quantities import Duration, Share
from edge_api.shapes import MeasuredShape, by_input, input_shapes
from edge_operator.store_answers import (
    CardCut,
    CardExit,
    CardShape,
    DeviceProfile,
    ExitTime,
    ModelCard,
    ProfileShape,
    SegmentTime,
)
from edge_planning.costs.curves import Curve
from edge_planning.request_shapes import RequestShape, ShapeCounts, quantile

ENOUGH = 50
"""Requests from which their shapes are planned for, in place of the largest one stated."""
GROWTH = 1.25
"""Factor by which the largest request must exceed the largest measured one to be measured, too."""


@dataclass(frozen=True, slots=True)
class PlannedShape:
    """The shape that a service is planned for. requests: of which it is the quantile; 0 if it is stated."""

    shape: RequestShape
    percentile: float
    requests: int = 0

    def __str__(self) -> str:
        if not self.requests:
            return f"planned for {self.shape}"
        return f"planned for {self.shape}, the {self.percentile:g}th percentile of {self.requests} requests"


def counted(placements: Iterable[Placement]) -> Mapping[RequestShape, int]:
    """Returns the requests at all entry nodes, by their shape."""
    counts = ShapeCounts()
    for placement in placements:
        for each in (placement.status.shapes if placement.status is not None else None) or ():
            counts.add(RequestShape.of(by_input(each.inputs)), each.count)
    return counts.counts()


def learned_inputs(
    counts: Mapping[RequestShape, int], before: Sequence[ModelInput] | None
) -> tuple[ModelInput, ...] | None:
    """Returns the inputs at the shapes of the requests; those before until a request is much larger.

    None without requests, and None before. Each new result has the model measured again.
    """
    largest, typical = quantile(counts, 100), quantile(counts, 50)
    if largest is None or typical is None:
        return None if before is None else tuple(before)
    if before is not None:
        measured = RequestShape.of({each.name: each.largest for each in before})
        if measured.inputs and largest.size <= GROWTH * measured.size:
            return tuple(before)
    most = {name: tuple(map(max, shape, typical.shapes()[name])) for name, shape in largest.shapes().items()}
    return tuple(
        ModelInput(name=name, max_shape=shape, typical_shape=typical.shapes()[name])
        for name, shape in most.items()
    )


def summary(counts: Mapping[RequestShape, int], percentile: float) -> tuple[object, ...]:
    """Returns what plans read of the shapes of requests: it changes seldom, unlike the counts."""
    shapes = (quantile(counts, percentile), quantile(counts, 50), quantile(counts, 100))
    return (*shapes, sum(counts.values()) >= ENOUGH)


def planned_shape(
    card: ModelCard, counts: Mapping[RequestShape, int], percentile: float
) -> PlannedShape | None:
    """Returns the shape to plan for: that of the percentile of the requests, if there are enough of them.

    Otherwise it is the largest one that is stated. None if no dimension besides the batch is open.
    """
    if not card.shapes:
        return None
    requests = sum(counts.values())
    found = quantile(counts, percentile) if requests >= ENOUGH else None
    if found is None:
        return PlannedShape(shape_of(card.shapes[-1]), percentile)
    return PlannedShape(found, percentile, requests)


def shape_of(each: CardShape | ProfileShape) -> RequestShape:
    """Returns the shape as the planner has it."""
    return RequestShape.of(each.inputs)


def is_measured(profile: DeviceProfile, card: ModelCard) -> bool:
    """Whether the profile has the smallest and the largest shape of the metadata, and its samples.

    Samples count more than the inputs of requests.
    """
    if profile.measured_on is not None and card.samples is not None:
        return False
    if profile.refused and profile.samples_digest != card.samples:
        return False
    measured = {shape_of(each) for each in profile.shapes}
    return not card.shapes or measured >= {shape_of(card.shapes[0]), shape_of(card.shapes[-1])}


def card_at(card: ModelCard, shape: RequestShape) -> ModelCard:
    """Returns the metadata with the bytes of cuts at a shape."""
    sizes = [shape_of(each).size for each in card.shapes]
    return card.model_copy(update={"exits": tuple(_exit_at(each, sizes, shape.size) for each in card.exits)})


def _exit_at(exit_: CardExit, sizes: Sequence[int], size: float) -> CardExit:
    cuts = tuple(
        cut.model_copy(update={"bytes": max(_bytes_at(cut.bytes_at, cut.bytes, sizes, size), 1)})
        for cut in exit_.cuts
    )
    response = _bytes_at(exit_.response_bytes_at, exit_.response_bytes, sizes, size)
    return exit_.model_copy(update={"cuts": cuts, "response_bytes": response})


def _bytes_at(known: Sequence[int], otherwise: int, sizes: Sequence[int], size: float) -> int:
    if len(known) != len(sizes):
        return otherwise
    return round(Curve.through(zip(sizes, known, strict=True)).at(size))


def with_responses(card: ModelCard, measured: Iterable[DeviceProfile]) -> ModelCard:
    """Returns the metadata with the bytes of responses, which measurements know where the file does not.

    An output that is as long as what was recognized has no size in the file.
    """
    exits = tuple(_with_response(each, card, measured) for each in card.exits)
    return card.model_copy(update={"exits": exits})


def _with_response(exit_: CardExit, card: ModelCard, measured: Iterable[DeviceProfile]) -> CardExit:
    found = list(exit_.response_bytes_at or (exit_.response_bytes,) * max(len(card.shapes), 1))
    for profile in measured:
        at = {shape_of(each): each.exits for each in profile.shapes} if card.shapes else {}
        for number, times in enumerate(at.get(shape_of(each), ()) for each in card.shapes):
            found[number] = max(found[number], _response(times, exit_))
        found[-1] = max(found[-1], _response(profile.exits, exit_))
    rising = tuple(accumulate(found, max))  # a shape can be left out of a measurement
    return exit_.model_copy(
        update={"response_bytes": rising[-1], "response_bytes_at": rising if len(rising) > 1 else ()}
    )


def _response(times: Iterable[ExitTime], exit_: CardExit) -> int:
    own = (e for e in times if e.output == exit_.end or (not e.output and e.exit == exit_.name))
    return max((each.response_bytes for each in own), default=0)


def profile_at(profile: DeviceProfile, shape: RequestShape) -> DeviceProfile:
    """Returns the measurements with the times at a shape."""
    if not profile.shapes:
        return profile
    sizes = [shape_of(each).size for each in profile.shapes]
    segments = tuple(
        _time_at([_segment(each, s) for each in profile.shapes], sizes, shape.size) for s in profile.segments
    )
    exits = tuple(
        _time_at([_exit(each, e) for each in profile.shapes], sizes, shape.size) for e in profile.exits
    )
    return profile.model_copy(update={"segments": segments, "exits": exits})


def _time_at(
    times: Sequence[SegmentTime] | Sequence[ExitTime], sizes: Sequence[int], size: float
) -> SegmentTime | ExitTime:
    mean = Curve.through(zip(sizes, (t.mean_seconds for t in times), strict=True)).at(size)
    p95 = Curve.through(zip(sizes, (t.p95_seconds for t in times), strict=True)).at(size)
    return times[-1].model_copy(update={"mean_seconds": mean, "p95_seconds": max(mean, p95)})


def _segment(at: ProfileShape, wanted: SegmentTime) -> SegmentTime:
    return next(s for s in at.segments if (s.start, s.end) == (wanted.start, wanted.end))


def _exit(at: ProfileShape, wanted: ExitTime) -> ExitTime:
    found = next((e for e in at.exits if e.output == wanted.output), None)
    found = found or next(e for e in at.exits if e.exit == wanted.exit)
    return found.model_copy(update={"exit": wanted.exit, "output": wanted.output})


def error(profile: DeviceProfile) -> float | None:
    """Returns the largest relative error of an exit's time between the measured shapes (Curve.error)."""
    sizes = [shape_of(each).size for each in profile.shapes]
    found = (
        Curve.through(zip(sizes, (_exit(each, e).mean_seconds for each in profile.shapes), strict=True)).error
        for e in profile.exits
        if sizes
    )
    return max((each for each in found if each is not None), default=None)


# --- in a ModelProfile and a Placement ---


def measured_shapes(shapes: Iterable[CardShape | ProfileShape]) -> tuple[MeasuredShape, ...] | None:
    """Returns the shapes as parts of an object; None without shapes."""
    return tuple(MeasuredShape(inputs=input_shapes(each.inputs)) for each in shapes) or None


def with_shapes(costs: ClassCosts, profile: DeviceProfile) -> ClassCosts:
    """Returns the costs with the times at each shape."""
    if not profile.shapes:
        return costs
    found = error(profile)
    segments = tuple(
        cost.model_copy(update=_columns([_segment(at, s) for at in profile.shapes]))
        for cost, s in zip(costs.segments, profile.segments, strict=True)
    )
    exits = tuple(
        cost.model_copy(update=_columns([_exit(at, e) for at in profile.shapes]))
        for cost, e in zip(costs.exits, profile.exits, strict=True)
    )
    return costs.model_copy(
        update={
            "shapes": measured_shapes(profile.shapes),
            "shape_error": None if found is None else Share(min(1.0, round(found, 4))),
            "segments": segments,
            "exits": exits,
        }
    )


def _columns(times: Sequence[SegmentTime] | Sequence[ExitTime]) -> dict[str, object]:
    return {
        "mean_at": tuple(Duration(t.mean_seconds) for t in times),
        "p95_at": tuple(Duration(t.p95_seconds) for t in times),
    }


def read_shapes(costs: ClassCosts, profile: DeviceProfile) -> DeviceProfile:
    """Returns the measurements with those at each shape."""
    found = []
    for number, shape in enumerate(costs.shapes or ()):
        segments = tuple(
            s.model_copy(update={"mean_seconds": c.mean_at[number], "p95_seconds": c.p95_at[number]})
            for s, c in zip(profile.segments, costs.segments, strict=True)
            if c.mean_at is not None and c.p95_at is not None
        )
        exits = tuple(
            e.model_copy(update={"mean_seconds": c.mean_at[number], "p95_seconds": c.p95_at[number]})
            for e, c in zip(profile.exits, costs.exits, strict=True)
            if c.mean_at is not None and c.p95_at is not None
        )
        found.append(ProfileShape(inputs=by_input(shape.inputs), segments=segments, exits=exits))
    return profile.model_copy(update={"shapes": tuple(found)})


def placed(planned: RequestShape, shapes: Iterable[CardShape]) -> PlacedShapes | None:
    """Returns the shapes for a Placement; None if nothing is open."""
    measured = measured_shapes(shapes)
    if measured is None:
        return None
    return PlacedShapes(planned=input_shapes(planned.shapes()), measured=measured)


# --- without a plan ---


def unplanned(card: ModelCard, why: str) -> ModelCard:
    """Returns metadata with which requests are served only where they arrive, by the whole model.

    why: what the condition says of it. Nothing is known of its costs.
    """
    needed = tuple(tensor.name for tensor in card.inputs)
    cut = CardCut(tensor="+".join(needed), tensors=needed, bytes=1)
    return card.model_copy(
        update={"exits": (card.exits[-1].model_copy(update={"cuts": (cut,)}),), "local": why, "shapes": ()}
    )


def without_times(card: ModelCard, device_class: str, node: str) -> DeviceProfile:
    """Returns measurements of a model that has no plan: all times are 0."""
    (exit_,) = card.exits
    return DeviceProfile(
        model=card.digest,
        device_class=device_class,
        node=node,
        segments=(_nothing(exit_),),
        exits=(ExitTime(exit=exit_.name, output=exit_.end, mean_seconds=0.0, p95_seconds=0.0),),
    )


def _nothing(exit_: CardExit) -> SegmentTime:
    ends = {"from": exit_.cuts[0].tensor, "to": exit_.end}
    return SegmentTime.model_validate({**ends, "mean_seconds": 0.0, "p95_seconds": 0.0})
