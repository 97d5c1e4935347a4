"""Triton servers that left a pool, which its status records until they have no tails of ours. Pure."""

import contextlib
import datetime
from collections.abc import Collection, Iterator

from pydantic import ValidationError

from edge_api.devicepools import FormerTritonServer
from edge_operator.cluster import Object
from edge_operator.residency import pool_addresses, server_of

KEPT = datetime.timedelta(days=7)
"""How long a server that does not respond is remembered."""


def former_addresses(pool: Object) -> frozenset[str]:
    """Returns the addresses of former servers of a DevicePool object, also of a just changed one."""
    status = pool.get("status") or {}
    recorded = {each.address for each in _recorded(pool)} | set(status.get("tritonServers") or [])
    current = {server_of(address) for address in pool_addresses(pool)}
    return frozenset(address for address in recorded if server_of(address) not in current)


def former_servers(
    pool: Object, emptied: Collection[str], now: datetime.datetime
) -> tuple[FormerTritonServer, ...]:
    """Returns the former servers for the status. emptied: those without tails of ours."""
    left = {each.address: each.left for each in _recorded(pool)}
    found = {
        address: left.get(address, now.replace(microsecond=0))
        for address in former_addresses(pool) - frozenset(emptied)
    }
    return tuple(
        FormerTritonServer(address=address, left=at)
        for address, at in sorted(found.items())
        if now - at < KEPT
    )


def _recorded(pool: Object) -> Iterator[FormerTritonServer]:
    for each in (pool.get("status") or {}).get("formerTritonServers") or []:
        with contextlib.suppress(ValidationError):
            yield FormerTritonServer.model_validate(each)
