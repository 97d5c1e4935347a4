"""Properties of a model that its graph proves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProvenProperties:
    """Each field is empty if the property is proven, else it says why it is not.

    alone: why requests must not share a batch. If empty, the first dimension of every input and output is the
    batch, and each row of an output depends on the same row of the inputs only.
    unrepeatable: why the same inputs might give different outputs next time.
    """

    alone: str = ""
    unrepeatable: str = ""

    @classmethod
    def of(cls, document: Mapping[str, str]) -> ProvenProperties:
        """Reads `document()`. Raises KeyError if a field is missing."""
        return cls(str(document["alone"]), str(document["unrepeatable"]))

    def document(self) -> dict[str, str]:
        """The properties as JSON."""
        return {"alone": self.alone, "unrepeatable": self.unrepeatable}


UNKNOWN = ProvenProperties("its graph was not analyzed", "its graph was not analyzed")
