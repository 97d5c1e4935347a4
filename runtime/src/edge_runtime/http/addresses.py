"""Addresses that a server listens on."""

from __future__ import annotations

import logging
import os
import socket
from errno import EACCES, EADDRNOTAVAIL, EAFNOSUPPORT
from pathlib import Path
from typing import Final

from edge_runtime.errors import CannotListen

BACKLOG: Final = 2048
EVERYWHERE, EVERYWHERE_IPV4 = "::", "0.0.0.0"  # noqa: S104 - what --host may say

_log = logging.getLogger(__name__)


def bracketed(host: str) -> str:
    """A host as written in front of a port: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def usable(host: str) -> str:
    """The host without brackets; 0.0.0.0 for `::` on a machine without IPv6.

    `::` stands for all addresses of both families.
    """
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if host != EVERYWHERE:
        return host
    try:
        with socket.create_server((EVERYWHERE, 0), family=socket.AF_INET6, dualstack_ipv6=True):
            return host
    except (OSError, ValueError) as error:  # ValueError: no dual-stack sockets on this machine
        known = not isinstance(error, OSError) or error.errno in (EADDRNOTAVAIL, EAFNOSUPPORT)
        why = str(error) if not known else "this machine has no IPv6"
        _log.warning('--host "%s": %s; listening on %s', EVERYWHERE, why, EVERYWHERE_IPV4)
        return EVERYWHERE_IPV4


def listening(host: str, port: int) -> socket.socket:
    """A listening socket. Raises CannotListen with the cause."""
    try:
        both = host == EVERYWHERE
        return socket.create_server((host, port), family=_family(host), backlog=BACKLOG, dualstack_ipv6=both)
    except socket.gaierror as error:
        raise CannotListen(
            f'--host: "{host}" is not an address of this machine ({error.strerror}): use one that is, '
            f"{EVERYWHERE_IPV4} or {EVERYWHERE}"
        ) from error
    except OSError as error:
        raise CannotListen(
            f"{bracketed(host)}:{port}: HTTP cannot listen on this address ({error.strerror or error}): "
            f"free the port or use another"
        ) from error


def _family(host: str) -> socket.AddressFamily:
    """IPv4, except for an address or a name that has IPv6 only."""
    found = {entry[0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return socket.AF_INET6 if found == {socket.AF_INET6} else socket.AF_INET


def free_socket(path: Path) -> Path:
    """Path for a new Unix socket. Removes a stale socket; raises CannotListen if a server listens there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                if not os.access(path.parent, os.W_OK):
                    why = f"user {os.geteuid()} cannot write to the folder: use another"
                    raise PermissionError(EACCES, why) from None
                path.unlink(missing_ok=True)
                return path
    except OSError as error:
        raise CannotListen(f"{path}: cannot listen on this socket ({error.strerror or error})") from error
    raise CannotListen(f"{path}: another server listens on this socket: stop it or use another folder")
