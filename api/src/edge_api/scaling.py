"""When a service lets go of what it has in memory, and how much memory idle services may keep."""

from typing import Any

from pydantic import Field

from edge_api.objects import Part
from edge_api.quantities import Duration, Quantity
from edge_api.rules import PositiveDuration, Rule


class Scaling(Part):
    """What a service holds without requests."""

    idle_after: PositiveDuration | None = Field(
        default=None,
        description="Time without requests after which an entry node lets go of the sessions of the model, "
        "as a duration above 0 such as 10m. Tails that only such entry nodes use are then unloaded from "
        "Triton. The next request loads a local route from the disk of the node and is answered by it. "
        "Default: nothing is let go.",
    )


class PlacedIdle(Part):
    """When the runtime lets go of the sessions of the service."""

    after: Duration = Field(description="Time without requests after which sessions are let go.")
    memory: Quantity = Field(
        default=Quantity(0),
        description="Bytes of sessions that the idle services of the runtime may keep together; of those "
        "beyond it, the ones without requests for the longest time are let go. Default: 0.",
    )


_CLOUD_ONLY_FIX = (
    "contradicts mode CloudOnly, in which no entry node could answer while Triton loads the model again: "
    "remove scaling.idleAfter or choose another mode"
)


def _check(spec: Any) -> str | None:  # noqa: ANN401 - the spec of an InferenceService, which imports this
    if spec.mode != "CloudOnly" or spec.scaling.idle_after is None:
        return None
    return f"scaling.idleAfter: {_CLOUD_ONLY_FIX}"


IDLE_AT_THE_EDGE = Rule(
    cel="!has(self.mode) || self.mode != 'CloudOnly' || !has(self.scaling) || !has(self.scaling.idleAfter)",
    message=f"scaling.idleAfter {_CLOUD_ONLY_FIX}",
    sentence=f"'scaling.idleAfter: {_CLOUD_ONLY_FIX}'",
    check=_check,
)
