"""Whether Triton servers accept model control from everyone who reaches them, as a condition. Pure."""

from collections.abc import Mapping

from edge_api import DevicePool, reasons
from edge_operator.conditions import Finding, condition

INTERVAL = 600.0
"""Seconds between two checks of a server."""


def control_finding(pool: DevicePool, found: Mapping[str, bool]) -> Finding | None:
    """Returns the condition ControlOpen; None for a pool without Triton servers.

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
