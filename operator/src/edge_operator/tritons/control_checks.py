"""Whether Triton servers accept model control from everyone who reaches them, checked at intervals."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from edge_api import DevicePool, reasons
from edge_operator.conditions import Finding, condition
from edge_operator.errors import TritonError

INTERVAL = 600.0
"""Seconds between two checks of a server."""


class Controlled(Protocol):
    """The request that a check sends."""

    def control_open(self, address: str) -> bool: ...


class ControlChecks:
    """The last result of each server."""

    def __init__(self, triton: Controlled) -> None:
        self._triton = triton
        self._checked: dict[str, float] = {}
        self.open: dict[str, bool] = {}

    def check(self, listed: Iterable[str], now: float) -> frozenset[str]:
        """Checks the servers whose last check is too long ago; returns those with another result.

        A server that does not respond is checked again at the next call, and its last result stays.
        """
        changed = set()
        for address in sorted(listed):
            if now - self._checked.get(address, float("-inf")) < INTERVAL:
                continue
            try:
                found = self._triton.control_open(address)
            except TritonError:
                continue
            self._checked[address] = now
            if self.open.get(address) != found:
                changed.add(address)
            self.open[address] = found
        return frozenset(changed)


def control_finding(pool: DevicePool, found: Mapping[str, bool]) -> Finding | None:
    """Returns the condition ControlOpen; None for a pool without Triton servers. Pure.

    found: whether model control is open, by address. Before the first check, the last condition stays.
    """
    servers = pool.spec.triton_servers
    if not servers:
        return None
    wide = [
        f"spec.tritonServers[{index}]: {server.name} accepts model control without a key"
        for index, server in enumerate(servers)
        if found.get(server.url)
    ]
    if wide:
        message = (
            f"{'; '.join(wide)}, so any client can run code there: start Triton with "
            "--http-restricted-api=model-repository:HEADER=KEY and "
            "--grpc-restricted-protocol=model-repository:HEADER=KEY, and name a Secret with the key in "
            "controlSecret"
        )
        return Finding(reasons.CONTROL_OPEN, "True", reasons.CONTROL_WITHOUT_KEY, message)
    checked = [server.name for server in servers if server.url in found]
    if checked:
        message = f"model control over HTTP requires a key at {', '.join(checked)}"
        return Finding(reasons.CONTROL_OPEN, "False", reasons.CONTROL_NEEDS_KEY, message)
    before = pool.status.conditions if pool.status is not None else ()
    last = condition(before, reasons.CONTROL_OPEN)
    if last is not None:
        return Finding(reasons.CONTROL_OPEN, last.status, last.reason, last.message)
    message = "model control has not been checked yet"
    return Finding(reasons.CONTROL_OPEN, "Unknown", reasons.WAITING, message)
