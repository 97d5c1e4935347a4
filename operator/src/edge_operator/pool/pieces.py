"""The slices that a planned route is made of: at the entry node, at another edge node, at Triton. Pure."""

from dataclasses import dataclass
from itertools import pairwise

from edge_api.placements import UNENCODED
from edge_operator.keys import SliceKey
from edge_operator.store_answers import ModelCard
from edge_planning import plans


@dataclass(frozen=True, slots=True)
class Pieces:
    """The slices at the entry node (head), at an intermediate node (middle) and at Triton (tail), if any.

    cut: the tensors that leave the entry node. codecs: of each hop. Outputs of the exit that the head or the
    middle computes stay there: the slices behind do not have them.
    """

    head: SliceKey | None
    middle: SliceKey | None
    tail: SliceKey | None
    cut: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[SliceKey, ...]:
        """The slices that exist, in order."""
        return tuple(key for key in (self.head, self.middle, self.tail) if key is not None)

    @property
    def kept(self) -> tuple[str, ...]:
        """Outputs of the exit that do not come from the last slice, in the order of the stages."""
        return tuple(name for key in self.keys for name in key.kept)


def pieces(card: ModelCard, route: plans.Route) -> Pieces:
    """The slices of one route, with the codecs of its hops at their edges."""
    exit_ = next(e for e in card.exits if e.name == route.exit)
    cuts = {cut.tensor: cut for cut in exit_.cuts}
    start, end = exit_.source, exit_.outputs
    if route.cut is None:
        return Pieces(SliceKey(card.digest, start, end), None, None)
    stops = [cuts[name] for name in (route.cut, route.second_cut) if name is not None]
    computed = [(), *(cut.computed(end) for cut in stops), end]
    ways = [start, *(cut.crossing for cut in stops)]
    ways.append(tuple(name for name in end if name not in computed[-2]))
    kept = [tuple(name for name in now if name not in was) for was, now in pairwise(computed[:-1])]
    codecs = _codecs(route, len(ways) - 2)
    arriving, leaving = (UNENCODED, *codecs), (*codecs, UNENCODED)
    keys: list[SliceKey | None] = [
        SliceKey(card.digest, before, behind, decode, encode, stays)
        for (before, behind), decode, encode, stays in zip(
            pairwise(ways), arriving, leaving, (*kept, ()), strict=True
        )
    ]
    if ways[1] == start and codecs[0] == UNENCODED and not kept[0]:
        keys[0] = None  # the inputs are sent unchanged
    head, *others = keys
    middle = others[0] if route.intermediate is not None else None
    tail = others[-1] if route.intermediate is None or route.second_cut is not None else None
    return Pieces(head, middle, tail, ways[1], codecs)


def _codecs(route: plans.Route, hops: int) -> tuple[str, ...]:
    """Returns one codec for each hop; a plan names a single one if they are equal."""
    named = route.codec.split(",")
    return tuple(named) if len(named) == hops else (named[0],) * hops
