"""Network namespaces, veth pairs, routes and shaping; the only caller of ip, tc and ethtool.

All namespaces are named inside the testbed's own mount namespace, and all links are created inside them, so
that the machine's network is unchanged and testbeds are isolated from each other. Each node's access link is
a veth pair: `eth0` in the node's namespace and `v-NODE` on the bridge of the namespace `wan`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from testbed.processes import ProcessRecord, entering, run
from testbed.topology import WAN_PREFIX, Topology

WAN, BRIDGE = "wan", "br0"
MTU = 1500
FRAME_BYTES = MTU + 14
# Slightly more than one frame: a larger burst would let a small activation pass unshaped.
BURST_BYTES = 1700
QUEUE_SECONDS = 0.2
# Even a slow link must hold the first bursts of a TCP connection (10 segments, doubled once): with a shorter
# queue, retransmissions took up to a sixth of 0.25 Mbit/s.
QUEUE_LEAST_BYTES = 24 * FRAME_BYTES


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
        ["ip", "-n", WAN, "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0"],
        ["ip", "netns", "exec", WAN, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"],
        ["ip", "-n", WAN, "link", "set", BRIDGE, "up"],
    ]
    for node in topology.nodes:
        name, veth = node.name, access(node.name)
        commands += [
            ["ip", "netns", "add", name],
            [
                "ip",
                "netns",
                "exec",
                name,
                "sysctl",
                "-qw",
                "net.ipv4.ip_forward=1",
                "net.ipv6.conf.all.disable_ipv6=1",
            ],
            ["ip", "-n", name, "link", "set", "lo", "up"],
            ["ip", "-n", WAN, "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", name],
            *(
                [
                    [
                        "ip",
                        "netns",
                        "exec",
                        ns,
                        "ethtool",
                        "-K",
                        dev,
                        "tso",
                        "off",
                        "gso",
                        "off",
                        "gro",
                        "off",
                    ]
                    for ns, dev in ((WAN, veth), (name, "eth0"))
                ]
            ),
            ["ip", "-n", WAN, "link", "set", veth, "master", BRIDGE, "up"],
            ["ip", "-n", name, "addr", "add", f"{topology.address(name)}/{WAN_PREFIX}", "dev", "eth0"],
            ["ip", "-n", name, "link", "set", "eth0", "up"],
        ]
    for node in topology.nodes:
        # The default route leads nowhere; it exists because packets to the cluster's addresses need one to
        # start from.
        commands.append(["ip", "-n", node.name, "route", "add", "default", "dev", "eth0"])
        commands += [
            [
                "ip",
                "-n",
                node.name,
                "route",
                "add",
                topology.pod_subnet(other.name),
                "via",
                topology.address(other.name),
            ]
            for other in topology.nodes
            if other is not node
        ]
    return commands


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
        for netns, device in ((WAN, access(node)), (node, "eth0")):
            if rate_bps is None:
                self._run(
                    [
                        "ip",
                        "netns",
                        "exec",
                        netns,
                        "tc",
                        "qdisc",
                        "del",
                        "dev",
                        device,
                        "root",
                        "2>/dev/null",
                        "||",
                        "true",
                    ]
                )
            else:
                self._run(
                    [
                        "ip",
                        "netns",
                        "exec",
                        netns,
                        "tc",
                        "qdisc",
                        "replace",
                        "dev",
                        device,
                        "root",
                        *shaping(rate_bps),
                    ]
                )

    def set_up(self, node: str, up: bool) -> None:
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
