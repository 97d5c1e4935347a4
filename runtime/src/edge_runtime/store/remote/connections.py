"""Refuses connections of this process to internal addresses, whichever library opens them.

An audit hook sees every connection of a Python socket with the address that is connected to: names are
resolved before, and redirects have connections of their own. It cannot be removed.
"""

from __future__ import annotations

import ipaddress
import socket
import sys

from edge_runtime.store.reachable import Reachable

_CONNECT = "socket.connect"


class InternalAddressError(PermissionError):
    """The address of a connection is internal, and not allowed."""


class ConnectionGuard:
    """What this process may connect to. refused: addresses to which it could not, in order."""

    def __init__(self, allowed: Reachable) -> None:
        self._allowed = allowed
        self.refused: list[str] = []

    def install(self) -> None:
        """Checks all connections from now on."""
        sys.addaudithook(self._seen)

    def _seen(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == _CONNECT and isinstance(where := arguments[1], tuple):
            self.check(str(where[0]))

    def check(self, host: str) -> None:
        """Raises InternalAddressError for an address, or a name, that is internal and not allowed."""
        for address in {host} if _is_address(host) else _addresses(host):
            if not self._allowed.connects(address) and not self._is_named(address):
                self.refused.append(address)
                raise InternalAddressError(f"{address} is an internal address")

    def _is_named(self, address: str) -> bool:
        """Whether it is an address of a host that is allowed by its name."""
        return any(address in _addresses(host) for host in self._allowed.hosts)


def _is_address(host: str) -> bool:
    """Whether it is not a name, which the socket would resolve itself."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()
