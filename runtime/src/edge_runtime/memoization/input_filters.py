"""Whether an input is nearly the one whose result was computed last in its stream. Pure: times come in.

The reference is the last *computed* input, not the last one seen: a slow drift adds up until it is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from cachetools import LRUCache

from edge_runtime.memoization.distances import Sketch, distance, size_of
from edge_runtime.memoization.kept_responses import owned, size_of_response
from edge_runtime.memoization.settings import DROP, FilterSettings
from edge_runtime.responses import InferenceResponse

COMPUTED: Final = "computed"
REPEATED: Final = "repeated"
DROPPED: Final = "dropped"

_STREAMS: Final = 1024
_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Reference:
    """An input whose result was computed, asked for at `at` (seconds)."""

    sketch: Sketch
    outputs: tuple[str, ...]
    response: InferenceResponse
    at: float
    size: int


@dataclass(frozen=True, slots=True)
class FilterVerdict:
    """What becomes of an input: `response` is the last result where the outcome is not `computed`.

    distance: to the reference; None where there is none that it can be compared with.
    """

    outcome: str
    distance: float | None = None
    response: InferenceResponse | None = None


class InputFilter:
    """The references of the streams that were seen lately, in a bounded number of bytes."""

    def __init__(self, settings: FilterSettings, streams: int = _STREAMS, max_bytes: int = _BYTES) -> None:
        self.settings = settings
        self._streams = streams
        self._references: LRUCache[str, Reference] = LRUCache(max_bytes, getsizeof=attrgetter("size"))

    def __len__(self) -> int:
        return len(self._references)

    def judge(
        self, stream: str, sketch: Sketch, outputs: Sequence[str], accuracy: float, now: float
    ) -> FilterVerdict:
        """Computed again is what is far from the reference, or whose reference is too old.

        So is what asks for other outputs, and what would be answered more accurately now than the reference
        was: by a route of at least `accuracy`.
        """
        reference = self._references.get(stream)
        if reference is None:
            return FilterVerdict(COMPUTED)
        far = distance(reference.sketch, sketch)
        near = far is not None and far < self.settings.threshold
        usable = (
            reference.outputs == tuple(outputs)
            and now - reference.at <= self.settings.max_age
            and reference.response.accuracy >= accuracy
        )
        if not near or not usable:
            return FilterVerdict(COMPUTED, far)
        return FilterVerdict(DROPPED if self.settings.action == DROP else REPEATED, far, reference.response)

    def computed(
        self, stream: str, sketch: Sketch, outputs: Sequence[str], response: InferenceResponse, at: float
    ) -> None:
        """This input, asked for at `at`, got this answer; an input that came later stays the reference."""
        before = self._references.get(stream)
        if before is None or before.at <= at:
            kept = owned(response, outputs=self.settings.action != DROP)
            size = size_of(sketch) + size_of_response(kept) + len(stream)
            self._references.pop(stream, None)
            if size <= self._references.maxsize:
                self._references[stream] = Reference(sketch, tuple(outputs), kept, at, size)
            if len(self._references) > self._streams:
                self._references.popitem()
