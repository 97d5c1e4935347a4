"""Whether an input is nearly the same as the last computed one of its stream. Pure: times are arguments.

The reference is the last *computed* input, not the last received one, so that a slow drift adds up.
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
    """An input whose result was computed, received at `at` (seconds)."""

    sketch: Sketch
    outputs: tuple[str, ...]
    response: InferenceResponse
    at: float
    size: int


@dataclass(frozen=True, slots=True)
class FilterVerdict:
    """The decision about an input: `response` is the last result unless the outcome is `computed`.

    distance: to the reference; None if there is no comparable reference.
    """

    outcome: str
    distance: float | None = None
    response: InferenceResponse | None = None


class InputFilter:
    """The references of recently seen streams, in a bounded number of bytes."""

    def __init__(self, settings: FilterSettings, streams: int = _STREAMS, max_bytes: int = _BYTES) -> None:
        self.settings = settings
        self._streams = streams
        self._references: LRUCache[str, Reference] = LRUCache(max_bytes, getsizeof=attrgetter("size"))

    def __len__(self) -> int:
        return len(self._references)

    def judge(
        self, stream: str, sketch: Sketch, outputs: Sequence[str], accuracy: float, now: float
    ) -> FilterVerdict:
        """Decides that an input is computed if it is far from the reference, or the reference is too old.

        It is computed as well if the request has other outputs, or if the response would now be more accurate
        than the reference: by a route of at least `accuracy`.
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
        """Stores the response of an input received at `at`, unless the reference is a later input."""
        before = self._references.get(stream)
        if before is None or before.at <= at:
            kept = owned(response, outputs=self.settings.action != DROP)
            size = size_of(sketch) + size_of_response(kept) + len(stream)
            self._references.pop(stream, None)
            if size <= self._references.maxsize:
                self._references[stream] = Reference(sketch, tuple(outputs), kept, at, size)
            if len(self._references) > self._streams:
                self._references.popitem()
