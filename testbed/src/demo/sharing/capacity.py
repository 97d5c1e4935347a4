"""What a node can do by a measured profile, and the SLO and rates of tenants that follow from it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from demo.services import seconds

Document = Mapping[str, Any]
_FULL_TIMES: Final = 8.0
"""The SLO in executions of the full model: long enough for a queue of the node."""


@dataclass(frozen=True)
class Capacity:
    """What a node of a device class can do.

    Attributes:
        full: Seconds of one execution of the full model.
        exits: Names, from the first exit to the full model.
    """

    full: float
    exits: tuple[str, ...]

    @property
    def latency(self) -> float:
        """Seconds of the SLO that the tenants' services get."""
        return round(_FULL_TIMES * self.full, 3)

    @property
    def rate(self) -> float:
        """Requests per second that keep the node busy if each takes the full model."""
        return 1 / self.full


def capacity(profile: Document, device_class: str) -> Capacity:
    """Returns the capacity by a ModelProfile."""
    exits = _exits(profile)[device_class]
    return Capacity(max(exits.values()), tuple(exits))


def slowest(profile: Document, classes: Collection[str]) -> str:
    """Returns which of these device classes takes longest for the full model."""
    measured = _exits(profile)
    return max(sorted(classes), key=lambda name: max(measured[name].values()))


def _exits(profile: Document) -> dict[str, dict[str, float]]:
    return {
        each["name"]: {exit_["exit"]: seconds(exit_["mean"]) for exit_ in each["exits"]}
        for each in profile["spec"]["deviceClasses"]
    }
