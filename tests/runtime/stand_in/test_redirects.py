"""The packet rules by which the node's ports lead to the host's process, or to a pod."""

from __future__ import annotations

import pytest

from edge_runtime.stand_in.redirects import MARK, Redirects, ruleset


def rules(redirects: Redirects, hook: str) -> list[str]:
    """The rules of a hook, without the declaration of its chain."""
    block = ruleset(redirects).split(f"chain {hook} {{")[1].split("}")[0]
    return [line.strip() for line in block.strip().splitlines()][1:]


@pytest.mark.parametrize("hook", ["prerouting", "output"])
def test_connections_from_the_node_and_to_it_are_led_to_the_process(hook: str) -> None:
    assert rules(Redirects(here={30080: 41234}), hook) == [
        f"meta mark {MARK:#x} return",
        " ".join(("fib daddr type local", "tcp dport 30080", "redirect to :41234")),
    ]


@pytest.mark.parametrize(
    ("pod", "translation"),
    [("10.42.0.7", "dnat ip to 10.42.0.7:8080"), ("fd00::7", "dnat ip6 to [fd00::7]:8080")],
)
def test_during_the_hand_over_they_are_led_to_the_pod(pod: str, translation: str) -> None:
    (_, rule) = rules(Redirects(pods={30080: (pod, 8080)}), "output")
    assert rule.startswith("fib daddr type local ip")
    assert rule.endswith(f"tcp dport 30080 {translation}")


def test_the_rules_come_before_those_of_kube_proxy_and_portmap() -> None:
    for hook in ("prerouting", "output"):
        assert f"type nat hook {hook} priority -110;" in ruleset(Redirects(here={30080: 1}))


def test_without_redirects_the_table_goes() -> None:
    assert ruleset(Redirects()).splitlines() == [
        "add table inet edge-runtime",
        "delete table inet edge-runtime",
    ]
