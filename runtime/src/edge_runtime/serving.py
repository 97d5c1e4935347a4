"""What both transports share: who is asked, whether it is ready, and what the protocol says about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge_runtime.dataplane import Answer, Dataplane
from edge_runtime.errors import NotReady, UnknownModel
from edge_runtime.tables import Table

SERVER: Final = "edge-runtime"
VERSION: Final = "0.1.0"
MODEL_VERSION: Final = "1"
PLATFORM: Final = "edge-intelligence"
LARGEST_REQUEST: Final = 64 << 20


class Service:
    """One service by name over its dataplane."""

    def __init__(self, name: str, dataplane: Dataplane) -> None:
        self.name, self.dataplane = name, dataplane
        self.draining = False

    @property
    def ready(self) -> bool:
        """Whether a request would be answered."""
        return self.dataplane.table is not None and not self.draining

    def table(self, model: str, version: str = "") -> Table:
        """The table to read a request by; UnknownModel for another name, NotReady before one is loaded."""
        if model != self.name:
            raise UnknownModel(f'model "{model}" is not served here; ask for {self.name}')
        if version not in ("", MODEL_VERSION):
            raise UnknownModel(
                f'model {model} has no version "{version}"; ask for version {MODEL_VERSION} or none'
            )
        table = self.dataplane.table
        if table is None:
            why = self.dataplane.message or "no placement has arrived yet"
            raise NotReady(f"model {model} is not ready: {why}")
        return table

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        """Names, datatypes and shapes; the same whichever route is active."""
        table = self.table(model, version)
        return {
            "name": self.name,
            "versions": [MODEL_VERSION],
            "platform": PLATFORM,
            "inputs": [t.document() for t in table.inputs],
            "outputs": [table.output.document()],
        }


def parameters_of(answer: Answer) -> Mapping[str, str | bool]:
    """How an answer came about, as response parameters."""
    return {"exit": answer.exit, "route": answer.route, "cut": answer.cut, "deadline_met": answer.met}
