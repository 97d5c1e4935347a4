"""The Triton servers that a pool's status records: those listed, and former ones with tails of ours. Pure."""

import contextlib
import datetime
from collections.abc import Collection, Iterator

from pydantic import AwareDatetime, ValidationError

from edge_api.devicepools import FormerTritonServer, KnownTritonServer
from edge_operator.cluster import Object
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.residency import pool_addresses

KEPT = datetime.timedelta(days=7)
"""How long a server that does not respond is remembered."""

_FIELDS = ("tritonServers", "formerTritonServers")


def listed_servers(pool: Object) -> tuple[KnownTritonServer, ...]:
    """Returns the servers that the pool lists, for the status."""
    secrets = control_secrets(pool)
    return tuple(
        KnownTritonServer(address=address, control_secret=secrets.get(server_of(address)))
        for address in sorted(pool_addresses(pool))
    )


def control_secrets(pool: Object) -> dict[str, str]:
    """Returns the names of the Secrets for model control, by host and port, also of former servers."""
    found = {
        server_of(each.address): each.control_secret
        for each in (*_recorded(pool, "formerTritonServers"), *_recorded(pool, "tritonServers"))
        if each.control_secret
    }
    for server in pool.get("spec", {}).get("tritonServers") or []:
        if server.get("httpAddress"):
            found.pop(server["httpAddress"], None)
            if server.get("controlSecret"):
                found[server["httpAddress"]] = server["controlSecret"]
    return found


def former_addresses(pool: Object) -> frozenset[str]:
    """Returns the addresses of former servers of a DevicePool object, also of a just changed one."""
    recorded = {each.address for field in _FIELDS for each in _recorded(pool, field)}
    current = {server_of(address) for address in pool_addresses(pool)}
    return frozenset(address for address in recorded if server_of(address) not in current)


def former_servers(
    pool: Object, emptied: Collection[str], now: datetime.datetime
) -> tuple[FormerTritonServer, ...]:
    """Returns the former servers for the status. emptied: those without tails of ours."""
    left = {each.address: each.left for each in _recorded(pool, "formerTritonServers")}
    secrets = control_secrets(pool)
    found = {
        address: left.get(address) or now.replace(microsecond=0)
        for address in former_addresses(pool) - frozenset(emptied)
    }
    return tuple(
        FormerTritonServer(address=address, left=at, control_secret=secrets.get(server_of(address)))
        for address, at in sorted(found.items())
        if now - at < KEPT
    )


class _Recorded(KnownTritonServer):
    left: AwareDatetime | None = None


def _recorded(pool: Object, field: str) -> Iterator[_Recorded]:
    for each in (pool.get("status") or {}).get(field) or []:
        with contextlib.suppress(ValidationError):
            yield _Recorded.model_validate(each)
