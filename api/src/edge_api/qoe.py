"""Quality of experience, as the status of an InferenceService has it."""

from typing import Annotated

from pydantic import Field

from edge_api.objects import StatusPart
from edge_api.policies import Privacy
from edge_api.quantities import Attainment, Duration, Quantity


class QoeStatus(StatusPart):
    """Quality of experience by the active routes of the entry nodes."""

    accuracy: Attainment = Field(
        description="Mean accuracy of the active routes over the entry nodes, from 0 to 1, rounded down."
    )
    latency: Duration | None = Field(
        default=None,
        description="95th percentile of the latency at the slowest entry node, in the minute before its last "
        "report. Default: no requests yet.",
    )
    communication: Quantity | None = Field(
        default=None,
        description="Mean bytes of a request that cross the uplink to a Triton server, as planned, without "
        "the response. Default: unknown until the routes are planned again.",
    )
    energy: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="Mean joules of a request at an entry node, as planned. Default: a group of nodes "
        "declares neither watts nor radio.",
    )
    privacy: Privacy = Field(
        description="What leaves the entry nodes now, in the words of spec.privacy. Local: nothing. "
        "InputStaysLocal: tensors, but no input of the model; only spec.privacy excludes copies of one. "
        "Any: an input of the model. That of the most open entry node."
    )
    memory: Quantity = Field(
        description="Bytes of the slices of the service at an entry node, each counted once: at the one that "
        "loads most."
    )
