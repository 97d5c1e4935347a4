"""Whether Triton servers accept model control from everyone who reaches them, as a condition. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_api import DevicePool, reasons
from edge_api.devicepools import TritonServer
from edge_operator.cluster import Object
from edge_operator.conditions import Finding, condition

INTERVAL = 600.0
"""Seconds between two checks of a server."""
Endpoints = Mapping[str, bool]
"""Whether a server accepts model control without a key, by the address of its HTTP or gRPC endpoint."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """A server and what is known of its endpoints; None: nothing."""

    field: str
    name: str
    http: bool | None
    grpc: bool | None
    has_grpc: bool

    @property
    def open(self) -> list[str]:
        """The protocols that accept model control without a key."""
        return [name for name, wide in (("HTTP", self.http), ("gRPC", self.grpc)) if wide]


def control_endpoints(pool: Object) -> dict[str, frozenset[str]]:
    """Returns the addresses to check by the HTTP address of each server, even if the pool is invalid."""
    found = {}
    for server in pool.get("spec", {}).get("tritonServers") or []:
        if server.get("httpAddress"):
            secure = "s" if server.get("scheme") == "HTTPS" else ""
            http, grpc = f"http{secure}://{server['httpAddress']}", server.get("grpcAddress")
            found[http] = frozenset({http, *([f"grpc{secure}://{grpc}"] if grpc else [])})
    return found


def control_finding(pool: DevicePool, found: Mapping[str, Endpoints]) -> Finding | None:
    """Returns the condition ControlOpen; None for a pool without Triton servers.

    found: by the HTTP address of each server. Before the first check, the last condition stays.
    """
    servers = [_checked(index, server, found) for index, server in enumerate(pool.spec.triton_servers)]
    if not servers:
        return None
    wide = [each for each in servers if each.open]
    if wide:
        said = [
            f"{each.field}: {each.name} accepts model control over {' and '.join(each.open)} without a key"
            for each in wide
        ]
        message = (
            f"{'; '.join(said)}, so any client can run code there: start Triton with {_flags(wide)}, and "
            "name a Secret with the key in controlSecret"
        )
        return Finding(reasons.CONTROL_OPEN, "True", reasons.CONTROL_WITHOUT_KEY, message)
    if checked := [each for each in servers if each.http is not None or each.grpc is not None]:
        return Finding(reasons.CONTROL_OPEN, "False", reasons.CONTROL_NEEDS_KEY, _closed(checked))
    before = pool.status.conditions if pool.status is not None else ()
    last = condition(before, reasons.CONTROL_OPEN)
    if last is not None:
        return Finding(reasons.CONTROL_OPEN, last.status, last.reason, last.message)
    message = "model control has not been checked yet"
    return Finding(reasons.CONTROL_OPEN, "Unknown", reasons.WAITING, message)


def _checked(index: int, server: TritonServer, found: Mapping[str, Endpoints]) -> _Checked:
    ends, grpc = found.get(server.url, {}), server.grpc_url
    known = None if grpc is None else ends.get(grpc)
    return _Checked(
        f"spec.tritonServers[{index}]", server.name, ends.get(server.url), known, has_grpc=grpc is not None
    )


def _flags(wide: Sequence[_Checked]) -> str:
    """Returns the flags that close what is open, and what may be."""
    flags = []
    if any(each.http for each in wide):
        flags.append("--http-restricted-api=model-repository:HEADER=KEY")
    if any(each.grpc is not False for each in wide):
        flags.append("--grpc-restricted-protocol=model-repository:HEADER=KEY")
    return " and ".join(flags)


def _closed(checked: Sequence[_Checked]) -> str:
    over = {
        "HTTP": [each.name for each in checked if each.http is False],
        "gRPC": [each.name for each in checked if each.grpc is False],
    }
    said = [
        f"model control over {protocol} requires a key at {', '.join(names)}"
        for protocol, names in over.items()
        if names
    ]
    if silent := [each.name for each in checked if each.has_grpc and each.grpc is None]:
        said.append(f"over gRPC, {', '.join(silent)} could not be checked")
    if unknown := [f"{each.field}.grpcAddress" for each in checked if not each.has_grpc]:
        said.append(f"over gRPC it is not checked: set {', '.join(unknown)}")
    return "; ".join(said)
