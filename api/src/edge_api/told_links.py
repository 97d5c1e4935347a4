"""What the operator tells a runtime of its links: which of them it measures, and what others measured.

A Placement carries it in an annotation. It is an observation and no desired state, so it must not raise
metadata.generation, for which runtimes load the routes again.
"""

import json
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from edge_api.objects import StatusPart
from edge_api.quantities import Bandwidth, Duration, Quantity

LINKS_ANNOTATION: Final = "edge-intelligence.io/links"


class ToldLink(StatusPart):
    """A link that several runtimes of a node use. The fields after `told` are those of a measured one."""

    measured: Literal["Here", "Elsewhere"] = Field(
        description="Whether the runtime of this Placement measures the link by probes, or another one does."
    )
    told: str = Field(
        default="", max_length=40, description="When this was written, by the clock of the operator."
    )
    state: Literal["Up", "Down"] = Field(default="Up", description="Whether the peer responds.")
    bandwidth: Bandwidth | None = Field(default=None, description="Measured bandwidth in bit/s.")
    bandwidth_low: Bandwidth | None = Field(
        default=None, description="20th percentile of the bandwidth in bit/s."
    )
    round_trip: Duration | None = Field(default=None, description="Measured round-trip time.")
    age: Duration | None = Field(
        default=None, description="Age of the measurement when the runtime that made it reported it."
    )
    valid_for: Duration = Field(
        default=Duration(1800),
        description="How long this holds after it arrived. Then the runtime measures the link itself.",
    )
    budget: Quantity | None = Field(
        default=None, description="Bytes of probes per hour if the runtime measures the link itself."
    )

    def same(self, other: "ToldLink") -> bool:
        """Whether both tell the same of the link, perhaps at another time."""
        return self.model_copy(update={"told": other.told}) == other


_LINKS = TypeAdapter(dict[str, ToldLink])


def read_links(annotations: Mapping[str, str]) -> dict[str, ToldLink]:
    """Returns the links by their peer; none if the annotation is missing or cannot be read."""
    try:
        return _LINKS.validate_json(annotations.get(LINKS_ANNOTATION, "{}"))
    except ValidationError:
        return {}


def write_links(links: Mapping[str, ToldLink]) -> str:
    """Returns the value of the annotation; equal links give equal texts."""
    written = {
        peer: link.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
        for peer, link in sorted(links.items())
    }
    return json.dumps(written, separators=(",", ":"))
