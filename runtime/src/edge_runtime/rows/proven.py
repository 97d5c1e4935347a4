"""What is known of a model from its graph alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proven:
    """What is proven of a model; each field is empty where it is, else the reason why not.

    alone: why requests must not share a run. Where it is empty, every input and output has the requests' rows
    as its first dimension, and each row of an output depends on that row of the inputs only.
    unrepeatable: why the same inputs may be answered differently next time.
    """

    alone: str = ""
    unrepeatable: str = ""

    @classmethod
    def of(cls, document: Mapping[str, str]) -> Proven:
        """From `document()`; KeyError where a field is missing."""
        return cls(str(document["alone"]), str(document["unrepeatable"]))

    def document(self) -> dict[str, str]:
        """As JSON."""
        return {"alone": self.alone, "unrepeatable": self.unrepeatable}


UNKNOWN = Proven("its graph was not analysed", "its graph was not analysed")
