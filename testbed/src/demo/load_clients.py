"""The interface of the clients that a runner of phases starts, reads and stops."""

from __future__ import annotations

from typing import Final, Protocol

from demo.statistics import LinkSample, RequestResult

SHOWN_EVERY_SECONDS: Final = 0.25


class LoadClients(Protocol):
    """The clients at the entry nodes, as `demo.client_processes.ClientProcesses` is."""

    def start(self) -> None: ...

    def take(self, seconds: float) -> list[RequestResult | LinkSample]: ...

    def stop(self) -> list[RequestResult | LinkSample]: ...
