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

    cut: the tensors that leave the entry node. codecs: of each hop.
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


def pieces(card: ModelCard, route: plans.Route) -> Pieces:
    """The slices of one route, with the codecs of its hops at their edges."""
    exit_ = next(e for e in card.exits if e.name == route.exit)
    tensors = {cut.tensor: cut.names for cut in exit_.cuts}
    start, end = exit_.source, exit_.outputs
    if route.cut is None:
        return Pieces(SliceKey(card.digest, start, end), None, None)
    ways = [start, tensors[route.cut]]
    if route.second_cut is not None:
        ways.append(tensors[route.second_cut])
    ways.append(end)
    codecs = _codecs(route, len(ways) - 2)
    arriving, leaving = (UNENCODED, *codecs), (*codecs, UNENCODED)
    keys: list[SliceKey | None] = [
        SliceKey(card.digest, before, behind, decode, encode)
        for (before, behind), decode, encode in zip(pairwise(ways), arriving, leaving, strict=True)
    ]
    if ways[1] == start and codecs[0] == UNENCODED:
        keys[0] = None  # the inputs are sent unchanged
    head, *others = keys
    middle = others[0] if route.intermediate is not None else None
    tail = others[-1] if route.intermediate is None or route.second_cut is not None else None
    return Pieces(head, middle, tail, ways[1], codecs)


def _codecs(route: plans.Route, hops: int) -> tuple[str, ...]:
    """Returns one codec for each hop; a plan names a single one if they are equal."""
    named = route.codec.split(",")
    return tuple(named) if len(named) == hops else (named[0],) * hops
