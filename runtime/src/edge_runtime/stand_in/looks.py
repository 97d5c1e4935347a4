"""What is seen of servers on this host: whether they are ready, and which process responds. Blocking."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import Any, Final

from edge_runtime.stand_in.redirects import MARK

LOOPBACK: Final = "127.0.0.1"
_WITHIN: Final = 1.0


def ready(address: str, port: int, services: tuple[str, ...] = ()) -> bool:
    """Whether a runtime responds there that is ready and knows these services."""
    if _get(address, port, "/v2/health/ready")[0] != 200:
        return False
    models = _get(address, port, "/v2/models")[1].get("models")
    return isinstance(models, list) and set(services) <= set(models)


def instance(address: str, port: int, *, by_cluster: bool = False) -> str:
    """Returns which process responds there, by an identifier that it has made itself; empty: none.

    by_cluster: without the redirects of this process.
    """
    return str(_get(address, port, "/v2/health/live", by_cluster=by_cluster)[1].get("instance", ""))


def accepts(address: str, port: int, *, by_cluster: bool = False) -> bool:
    """Whether a connection is accepted there."""
    with contextlib.suppress(OSError):
        _connection(address, port, by_cluster=by_cluster).close()
        return True
    return False


def node_address() -> str:
    """Returns the address of this host from which it reaches others, or that of the loopback device."""
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))  # sends nothing
            return str(probe.getsockname()[0])
    return LOOPBACK


def free_port() -> int:
    """Returns a port of this host that is free now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _connection(address: str, port: int, *, by_cluster: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family)
    try:
        connection.settimeout(_WITHIN)
        if by_cluster:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        connection.connect((address, port))
    except BaseException:
        connection.close()
        raise
    return connection


def _get(address: str, port: int, path: str, *, by_cluster: bool = False) -> tuple[int, dict[str, Any]]:
    """Returns the status and the JSON object of a response; 0 and {} without one."""
    client = http.client.HTTPConnection(address, port, timeout=_WITHIN)
    try:
        client.sock = _connection(address, port, by_cluster=by_cluster)
        client.request("GET", path, headers={"Connection": "close"})
        response = client.getresponse()
        found = json.loads(response.read(1 << 20))
    except (OSError, ValueError, http.client.HTTPException):
        return 0, {}
    finally:
        client.close()
    return response.status, found if isinstance(found, dict) else {}
