"""Policies of an entry node: deadlines, early exits, input filters, result caches.

An InferenceService sets them; its Placements repeat them unchanged.
"""

from typing import Annotated, Literal

from pydantic import Field

from edge_api.objects import Part
from edge_api.quantities import Duration, Quantity
from edge_api.rules import PositiveDuration, Room, Rule, between

_THRESHOLD_FIX = "mode Confidence requires a threshold: write one between 0 and 1, e.g. threshold: 0.9"
_THRESHOLD = Rule(
    cel="self.mode != 'Confidence' || has(self.threshold)",
    message=_THRESHOLD_FIX,
    sentence=f"'{_THRESHOLD_FIX}'",
    check=lambda found: _THRESHOLD_FIX if found.mode == "Confidence" and found.threshold is None else None,
)


Isolation = Literal["Shared", "Dedicated"]
ISOLATION = (
    "Which pods serve the model. Shared: the namespace's runtime at each entry node, which serves all "
    "services of the namespace there. Dedicated: a runtime of the service's own at each entry node, with its "
    "own memory and queue. Default: Shared."
)
Privacy = Literal["Any", "InputStaysLocal", "Local"]
PRIVACY = (
    "Data that can leave the entry node. Any: all data. InputStaysLocal: activations, but no "
    "input of the model and no tensor that is only a copy of one (reshaped, cast, scaled, or a part of it). "
    "Local: no data, so all routes are local. Default: Any."
)


class Deadline(Part):
    """What to do if a remote response is late."""

    action: Literal["LocalExit", "Wait", "Fail"] = Field(
        default="LocalExit",
        description="What to send at the deadline, which is slo.latency. LocalExit: the response of an exit "
        "at the entry node. Wait: nothing yet, wait for twice slo.latency and at least 1s; requests that the "
        "queue of the entry node makes late wait, too, instead of being refused. Fail: an error. Default: "
        "LocalExit.",
    )


class EarlyExit(Part):
    """Whether inputs may take an earlier exit than the planned one."""

    mode: Literal["Planned", "Confidence"] = Field(
        default="Planned",
        description="Planned: every input takes the exit of the route. Confidence: an input takes the first "
        "exit at the entry node whose confidence reaches the threshold. Default: Planned.",
    )
    threshold: (
        Annotated[
            float,
            Field(strict=True),
            between(0, 1, "is not a confidence: write a number between 0 and 1, e.g. 0.9"),
        ]
        | None
    ) = Field(
        default=None,
        description="Minimum softmax probability of the most likely class for an early exit, between 0 and "
        "1. Required in mode Confidence.",
    )

    @property
    def leave_at(self) -> float | None:
        """The confidence from which an input leaves early; None: never."""
        return self.threshold if self.mode == "Confidence" else None


AnyEarlyExit = Annotated[EarlyExit, _THRESHOLD]


class InputFilter(Part):
    """Skips inference on an input that is nearly the same as the previous one."""

    action: Literal["Answer", "Drop"] = Field(
        default="Answer",
        description="Response to a filtered input. Answer: the previous result. Drop: no outputs. Both set "
        "the response parameter filtered. Default: Answer.",
    )
    threshold: Annotated[
        float,
        Field(strict=True),
        between(0, 1, "is not a distance: write a number above 0 and below 1, e.g. 0.02", open_ends=True),
    ] = Field(
        default=0.02,
        description="Maximum distance of two inputs that count as the same: the mean difference of their "
        "downsampled values relative to the range of values, above 0 and below 1. Default: 0.02.",
    )
    max_age: PositiveDuration = Field(
        default=Duration(1.0),
        description="Maximum age of a result that is sent again, a duration above 0. Default: 1s.",
    )


class ResultCache(Part):
    """Caches the results of identical inputs."""

    max_bytes: Room = Field(
        default=Quantity(16 << 20),
        description="Maximum size of the cached results in bytes, above 0. Default: 16Mi.",
    )
    max_age: PositiveDuration = Field(
        default=Duration(60.0),
        description="Maximum age of a cached result, a duration above 0. Default: 1m0s.",
    )
