"""How an entry node answers: late replies, confident inputs, inputs that were seen before, life alone.

An InferenceService asks for them, its Placements hand them on as they are.
"""

from typing import Annotated, Literal

from pydantic import Field

from edge_api.objects import Part
from edge_api.quantities import Duration, Quantity
from edge_api.rules import PositiveDuration, Room, Rule, between

_THRESHOLD_FIX = "mode Confidence needs a threshold: write one between 0 and 1, e.g. threshold: 0.9"
_THRESHOLD = Rule(
    cel="self.mode != 'Confidence' || has(self.threshold)",
    message=_THRESHOLD_FIX,
    sentence=f"'{_THRESHOLD_FIX}'",
    check=lambda found: _THRESHOLD_FIX if found.mode == "Confidence" and found.threshold is None else None,
)


class Deadline(Part):
    """What becomes of a request whose remote reply is late."""

    action: Literal["LocalExit", "Wait", "Fail"] = Field(
        default="LocalExit",
        description="LocalExit: the answer of an exit at the entry node goes out before the deadline in its "
        "place. Wait: the reply is waited for, up to twice slo.latency and at least 1s. Fail: an error at "
        "the deadline. Default LocalExit.",
    )


class EarlyExit(Part):
    """Whether single inputs may leave before the exit that the plan chose."""

    mode: Literal["Planned", "Confidence"] = Field(
        default="Planned",
        description="Planned: every input takes the exit of the route. Confidence: an input of which an "
        "earlier exit at the entry node is sure is answered by that one. Default Planned.",
    )
    threshold: (
        Annotated[
            float,
            Field(strict=True),
            between(0, 1, "is not a confidence: write a share between 0 and 1, e.g. 0.9"),
        ]
        | None
    ) = Field(
        default=None,
        description="Share of belief in the likeliest class from which an input leaves early, between 0 and "
        "1. Required in mode Confidence.",
    )


AnyEarlyExit = Annotated[EarlyExit, _THRESHOLD]


class InputFilter(Part):
    """Answers an input that is nearly the same as the one before without running the model."""

    action: Literal["Answer", "Drop"] = Field(
        default="Answer",
        description="Answer: the last result again. Drop: no outputs, for callers that only want news. Both "
        "with the response parameter filtered. Default Answer.",
    )
    threshold: Annotated[
        float,
        Field(strict=True),
        between(0, 1, "is not a distance: write a number above 0 and below 1, e.g. 0.02", open_ends=True),
    ] = Field(
        default=0.02,
        description="Distance up to which two inputs count as the same: the mean difference of their coarse "
        "pictures over the range of values, above 0 and below 1. Default 0.02.",
    )
    max_age: PositiveDuration = Field(
        default=Duration(1.0), description="How long a result may be repeated. Default 1s."
    )


class ResultCache(Part):
    """Answers an input that is exactly one of those before without running the model."""

    max_bytes: Room = Field(
        default=Quantity(16 << 20), description="Memory that the results may take, e.g. 16Mi. Default 16Mi."
    )
    max_age: PositiveDuration = Field(
        default=Duration(60.0), description="How long a result may be used. Default 60s."
    )
