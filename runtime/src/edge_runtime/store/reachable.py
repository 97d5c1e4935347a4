"""Which folders and which internal addresses the model store may read models from. Pure, except for links."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_api.words import shown
from edge_runtime.errors import BadRequest, Refused

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Prefixes of IPv6 addresses whose last 32 bits are the IPv4 address that is connected to.
_CARRIES_IPV4: Final = tuple(
    ipaddress.IPv6Network(prefix) for prefix in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
_INTERNAL: Final = tuple(
    # Of protocols, local NAT64, Teredo and site-local, some of which ipaddress counts as global.
    ipaddress.ip_network(prefix)
    for prefix in ("192.0.0.0/24", "64:ff9b:1::/48", "2001::/32", "fec0::/10")
)


@dataclass(frozen=True, slots=True)
class Reachable:
    """What may be read.

    Attributes:
        folders: What file:// may read.
        hosts: Whose internal addresses all other schemes may read.
        networks: Likewise.
        plain: Registries, as host or host:port, that are called without TLS.
    """

    folders: tuple[Path, ...] = ()
    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    plain: frozenset[str] = frozenset()

    def shared(self, path: str, said: str) -> Path:
        """Returns the path without links. Raises Refused, beginning with `said`, outside of all folders."""
        found = Path(path).resolve()
        if not any(found.is_relative_to(folder.resolve()) for folder in self.folders):
            raise Refused(
                f"{said} is not in a shared folder of the model store: upload the file and use store://, or "
                f"share its folder with --shared-folder (chart value store.sharedFolders)"
            )
        return found

    def names(self, host: str) -> bool:
        """Whether all addresses of a host are allowed."""
        return _folded(host) in self.hosts

    def connects(self, address: str) -> bool:
        """Whether an IP address is public or allowed."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        forms = {ip, _carried(ip)}
        if any(form in network for form in forms for network in self.networks):
            return True
        return not any(_is_internal(form) for form in forms)


NOTHING: Final = Reachable()
"""No folder and no internal address."""


def reachable(
    root: Path, folders: Sequence[Path], internal: Sequence[str], plain: Sequence[str] = ()
) -> Reachable:
    """What the flags allow. Raises BadRequest for a value that is wrong, or a folder with the store's data.

    root: the folder of the store, which a shared folder would show to everyone.
    """
    own = root.resolve()
    for folder in folders:
        if not folder.is_absolute():
            raise BadRequest(f"--shared-folder {folder}: not an absolute path: write one that begins with /")
        shared = folder.resolve()
        if own.is_relative_to(shared) or shared.is_relative_to(own):
            raise BadRequest(
                f"--shared-folder {folder}: shares the store's data in --root {root}: share another folder"
            )
    hosts, networks = internal_places(internal)
    return Reachable(tuple(folders), hosts, networks, frozenset(plain))


def internal_places(internal: Sequence[str]) -> tuple[frozenset[str], tuple[Network, ...]]:
    """Returns the hosts and the networks that --allow-internal names. Raises BadRequest."""
    hosts, networks = set[str](), list[Network]()
    for value in internal:
        try:
            networks.append(ipaddress.ip_network(value))
        except ValueError as error:
            if "/" in value or ":" in value or not value.strip("."):
                raise BadRequest(
                    f"--allow-internal {shown(value)}: neither a host nor a CIDR ({error}): write e.g. "
                    f"models.example.org or 10.1.0.0/16"
                ) from error
            hosts.add(_folded(value))
    return frozenset(hosts), tuple(networks)


def _folded(host: str) -> str:
    return host.lower().removesuffix(".")


def _carried(ip: Ip) -> Ip:
    """The IPv4 address inside of an IPv6 address, or the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if any(ip in prefix for prefix in _CARRIES_IPV4):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.sixtofour or ip


def _is_internal(ip: Ip) -> bool:
    if isinstance(ip, ipaddress.IPv6Address) and any(ip in prefix for prefix in _CARRIES_IPV4):
        return _is_internal(_carried(ip))  # ipaddress does not count all of these as global
    if isinstance(ip, ipaddress.IPv6Address) and ip.sixtofour is not None:
        return _is_internal(ip.sixtofour)
    if any(ip in prefix for prefix in _INTERNAL):
        return True
    return not ip.is_global or ip.is_multicast
