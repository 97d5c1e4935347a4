"""A DeviceProfile as a Placement's status reports it: times alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_api.first_requests import MOST_SEGMENTS, ReportedExit, ReportedSegment, RequestProfile
from edge_api.quantities import Duration, Share
from edge_api.shapes import MeasuredShape, input_shapes
from edge_runtime.errors import CannotLoad

Document = Mapping[str, Any]


def request_profile(profile: Document) -> RequestProfile:
    """Returns the report of a DeviceProfile. Raises CannotLoad if the model has too many segments."""
    segments: Sequence[Document] = profile["segments"]
    if len(segments) > MOST_SEGMENTS:
        raise CannotLoad(
            f"the model has {len(segments)} segments, more than the {MOST_SEGMENTS} that a status has room "
            "for: write samples of requests into spec.model.samples"
        )
    at: Sequence[Document] = profile["shapes"]
    return RequestProfile(
        model=profile["model"],
        threads=profile["threads"],
        execution_provider=profile["executionProvider"],
        segments=tuple(
            ReportedSegment.model_validate(
                {
                    "from": each["from"],
                    "to": each["to"],
                    **_times(each, [shape["segments"][number] for shape in at]),
                }
            )
            for number, each in enumerate(segments)
        ),
        exits=tuple(
            ReportedExit.model_validate(
                {
                    "exit": each["exit"],
                    "output": each["output"],
                    **_times(each, [shape["exits"][number] for shape in at]),
                }
            )
            for number, each in enumerate(profile["exits"])
        ),
        relative_error=Share(min(1.0, round(profile["relativeError"], 4))),
        shapes=tuple(MeasuredShape(inputs=input_shapes(shape["inputs"])) for shape in at) or None,
    )


def _times(measured: Document, at: Sequence[Document]) -> dict[str, Any]:
    """The times of one part, and those at each shape."""
    found: dict[str, Any] = {
        "mean": Duration(measured["meanSeconds"]),
        "p95": Duration(measured["p95Seconds"]),
        "runs": measured["runs"],
    }
    if at:
        found["mean_at"] = tuple(Duration(each["meanSeconds"]) for each in at)
        found["p95_at"] = tuple(Duration(each["p95Seconds"]) for each in at)
    return found
