"""Network namespaces, veth pairs, routes and shaping; the only caller of ip, tc, nft and ethtool.

All namespaces are named inside the testbed's own mount namespace, and all links are created inside them, so
that the machine's network is unchanged and testbeds are isolated from each other. Each node's access link is
a veth pair: `eth0` in the node's namespace and `v-NODE` on the bridge of the namespace `wan`. Edge nodes also
share a local network, a second bridge with `eth1` and `l-NODE`: the traffic between their pods does not cross
the access links.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from testbed.processes import ProcessRecord, entering, run
from testbed.topology import CLOUD, NETWORK_PREFIX, NodeSpec, Topology

WAN, WAN_BRIDGE, LAN_BRIDGE = "wan", "br0", "br1"
MTU = 1500
FRAME_BYTES = MTU + 14
# Slightly more than one frame: a larger burst would let a small activation pass unshaped.
BURST_BYTES = 1700
QUEUE_SECONDS = 0.2
# Even a slow link must hold the first bursts of a TCP connection (10 segments, doubled once): with a shorter
# queue, retransmissions took up to a sixth of 0.25 Mbit/s.
QUEUE_LEAST_BYTES = 24 * FRAME_BYTES
LOSS_STEPS = 10_000  # of a random number, by which a packet is lost


def shaping(rate_bps: float) -> list[str]:
    """Returns tc's arguments for a rate, with burst and queue in bytes."""
    burst = round(max(BURST_BYTES, rate_bps / 8 * 0.0006))
    queue = round(max(QUEUE_LEAST_BYTES, rate_bps / 8 * QUEUE_SECONDS))
    return ["tbf", "rate", f"{round(rate_bps)}bit", "burst", str(burst), "limit", str(queue)]


def access(node: str) -> str:
    """Returns the bridge's end of a node's access link."""
    return f"v-{node}"


def build_commands(topology: Topology) -> list[list[str]]:
    """Returns all commands that create the network, in order."""
    commands = [
        ["ip", "netns", "add", WAN],
        *(["ip", "-n", WAN, "link", "add", bridge, "type", "bridge", "forward_delay", "0", "stp_state", "0"]
          for bridge in (WAN_BRIDGE, LAN_BRIDGE)),
        ["ip", "netns", "exec", WAN, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"],
        *(["ip", "-n", WAN, "link", "set", bridge, "up"] for bridge in (WAN_BRIDGE, LAN_BRIDGE)),
    ]  # fmt: skip
    for node in topology.nodes:
        settings = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.disable_ipv6=1"]
        commands += [
            ["ip", "netns", "add", node.name],
            ["ip", "netns", "exec", node.name, "sysctl", "-qw", *settings],
            ["ip", "-n", node.name, "link", "set", "lo", "up"],
            *_attach(node.name, "eth0", access(node.name), WAN_BRIDGE, topology.address(node.name)),
        ]
        if node.tier != CLOUD:
            commands += _attach(
                node.name, "eth1", f"l-{node.name}", LAN_BRIDGE, topology.local_address(node.name)
            )
    for node in topology.nodes:
        # The default route leads nowhere; it exists because packets to the cluster's addresses need one to
        # start from.
        commands.append(["ip", "-n", node.name, "route", "add", "default", "dev", "eth0"])
        for other in topology.nodes:
            if other is not node and topology.like != "k3s":  # there, flannel routes to pods
                subnet, via = topology.pod_subnet(other.name), _next_hop(topology, node, other)
                commands.append(["ip", "-n", node.name, "route", "add", subnet, "via", via])
    return commands


def _attach(node: str, device: str, peer: str, bridge: str, address: str) -> list[list[str]]:
    """A veth pair between a node's namespace and a bridge."""
    offloads = ["tso", "off", "gso", "off", "gro", "off"]
    return [
        ["ip", "-n", WAN, "link", "add", peer, "type", "veth", "peer", "name", device, "netns", node],
        *(["ip", "netns", "exec", netns, "ethtool", "-K", end, *offloads]
          for netns, end in ((WAN, peer), (node, device))),
        ["ip", "-n", WAN, "link", "set", peer, "master", bridge, "up"],
        ["ip", "-n", node, "addr", "add", f"{address}/{NETWORK_PREFIX}", "dev", device],
        ["ip", "-n", node, "link", "set", device, "up"],
    ]  # fmt: skip


def _next_hop(topology: Topology, node: NodeSpec, other: NodeSpec) -> str:
    """Where a node sends what is for another's pods."""
    near = CLOUD not in (node.tier, other.tier)
    return topology.local_address(other.name) if near else topology.address(other.name)


class Network:
    """The network of a running testbed."""

    def __init__(self, testbed: ProcessRecord) -> None:
        self._testbed = testbed

    def _run(self, *commands: Sequence[str]) -> str:
        script = "set -e\n" + "\n".join(" ".join(command) for command in commands)
        return run([*entering(self._testbed), "sh", "-c", script])

    def build(self, topology: Topology) -> None:
        self._run(*build_commands(topology))

    def set_rate(self, node: str, rate_bps: float | None) -> None:
        """Shapes both directions of the node's access link; None removes the limit."""
        self._shape([(WAN, access(node)), (node, "eth0")], rate_bps)

    def set_local_rate(self, node: str, rate_bps: float | None) -> None:
        """Shapes both directions between an edge node and the local network; None removes the limit."""
        self._shape([(WAN, f"l-{node}"), (node, "eth1")], rate_bps)

    def _shape(self, devices: Sequence[tuple[str, str]], rate_bps: float | None) -> None:
        for netns, device in devices:
            qdisc = ["ip", "netns", "exec", netns, "tc", "qdisc"]
            if rate_bps is None:
                self._run([*qdisc, "del", "dev", device, "root", "2>/dev/null", "||", "true"])
            else:
                self._run([*qdisc, "replace", "dev", device, "root", *shaping(rate_bps)])

    def set_loss(self, node: str, share: float | None) -> None:
        """Drops this share of the packets of the node's access link, in both directions; None ends it."""
        for netns, device in ((WAN, access(node)), (node, "eth0")):
            table = f"netdev loss-{device}"
            nft = ["ip", "netns", "exec", netns, "nft"]
            commands = [[*nft, "delete", "table", table, "2>/dev/null", "||", "true"]]
            if share is not None:
                hook = f"'{{ type filter hook ingress device {device} priority 0; }}'"
                drawn = f"numgen random mod {LOSS_STEPS} \\< {round(share * LOSS_STEPS)} drop"
                commands += [
                    [*nft, "add", "table", table],
                    [*nft, "add", "chain", table, "drawn", hook],
                    [*nft, "add", "rule", table, "drawn", drawn],
                ]
            self._run(*commands)

    def set_up(self, node: str, *, up: bool) -> None:
        """Restores or cuts the node's access link."""
        self._run(["ip", "-n", WAN, "link", "set", access(node), "up" if up else "down"])

    def rate(self, node: str) -> float | None:
        """Returns the rate in bit/s to which the access link is shaped."""
        shown = json.loads(
            self._run(["ip", "netns", "exec", node, "tc", "-j", "qdisc", "show", "dev", "eth0"])
        )
        return next((8.0 * q["options"]["rate"] for q in shown if q["kind"] == "tbf"), None)

    def forget(self, node: str) -> None:
        """Drops the packet rules of the node's kube-proxy, as a power cut does."""
        self._run(["ip", "netns", "exec", node, "nft", "flush", "ruleset"])

    def is_up(self, node: str) -> bool:
        return ",UP" in self._run(["ip", "-n", WAN, "-o", "link", "show", access(node)])
