"""Where connections to the node's ports go: packet rules of this process, before those of the cluster.

The only caller of nft. The rules are in a table of their own at a priority before the one at which
kube-proxy, in mode iptables or nftables, and the portmap plugin translate addresses. Once a rule has
translated the first packet of a connection, the kernel asks no later one, and open connections keep their
translation.
"""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge_runtime.errors import CannotListen

TABLE: Final = "edge-runtime"
MARK: Final = 0x71
"""Mark of packets that follow the cluster's rules alone. kube-proxy uses 0x4000 and 0x8000."""
_BEFORE: Final = -110
"""kube-proxy and portmap translate at -100. Node ports without an endpoint are refused after translation."""
_WITHIN: Final = 10.0
_LOCAL: Final = "fib daddr type local ip daddr != 127.0.0.0/8"


@dataclass(frozen=True, slots=True)
class Redirects:
    """Which ports of the node lead where.

    here: to ports of this host, by port of the node. pods: to an address and a port of a pod.
    """

    here: Mapping[int, int] = field(default_factory=dict)
    pods: Mapping[int, tuple[str, int]] = field(default_factory=dict)


def ruleset(redirects: Redirects) -> str:
    """Returns the input of nft that replaces all rules; without redirects it removes the table."""
    lines = [f"add table inet {TABLE}", f"delete table inet {TABLE}"]
    if not redirects.here and not redirects.pods:
        return "\n".join(lines) + "\n"
    rules = [*_to_pods(redirects.pods), *_to_here(redirects.here)]
    lines.append(f"table inet {TABLE} {{")
    for hook in ("prerouting", "output"):
        lines.append(f"  chain {hook} {{")
        lines.append(f"    type nat hook {hook} priority {_BEFORE}; policy accept;")
        lines.append(f"    meta mark {MARK:#x} return")
        lines += [f"    {rule}" for rule in rules]
        lines.append("  }")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _to_here(ports: Mapping[int, int]) -> Sequence[str]:
    return [f"fib daddr type local tcp dport {port} redirect to :{to}" for port, to in sorted(ports.items())]


def _to_pods(pods: Mapping[int, tuple[str, int]]) -> Sequence[str]:
    rules = []
    for port, (address, to) in sorted(pods.items()):
        if ipaddress.ip_address(address).version == 4:
            rules.append(f"{_LOCAL} tcp dport {port} dnat ip to {address}:{to}")
        else:
            rules.append(
                f"fib daddr type local ip6 daddr != ::1 tcp dport {port} dnat ip6 to [{address}]:{to}"
            )
    return rules


def apply(redirects: Redirects, nft: Path) -> None:
    """Replaces the rules, at once. Raises CannotListen with nft's message."""
    try:
        done = subprocess.run(
            [nft, "-f", "-"],
            input=ruleset(redirects),
            capture_output=True,
            text=True,
            timeout=_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotListen(f"{nft}: {error}: the node's ports do not lead here") from error
    if done.returncode:
        raise CannotListen(f"{nft}: {done.stderr.strip()[:300]}: the node's ports do not lead here")
