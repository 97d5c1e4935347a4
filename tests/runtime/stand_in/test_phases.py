"""When the host's process serves in place of a pod, and when it hands over."""

from __future__ import annotations

import pytest

from edge_runtime.stand_in.phases import Name, Phase, Process, Seen, follow

POD = "10.42.0.7"
PATIENCE = 30.0


def after(
    name: Name,
    waited: float = 0.0,
    *,
    kept: bool = True,
    pod: str = "",
    led: bool = False,
    process: Process = "None",
) -> Name:
    return follow(Phase(name, 100.0), Seen(kept, pod, led, process), 100.0 + waited, PATIENCE).name


def test_it_serves_only_once_the_kubelet_had_its_time() -> None:
    assert after("Waiting", PATIENCE - 0.1) == "Waiting"
    assert after("Waiting", PATIENCE) == "StandingIn"


def test_a_pod_that_is_ready_in_time_needs_no_process() -> None:
    assert after("Waiting", 5.0, pod=POD) == "Done"


@pytest.mark.parametrize(("name", "following"), [("Waiting", "Done"), ("StandingIn", "Draining")])
def test_a_runtime_whose_pods_are_gone_is_served_no_longer(name: Name, following: Name) -> None:
    assert after(name, 99.0, kept=False, process="Ready") == following


def test_new_connections_go_to_the_pod_as_soon_as_it_is_ready() -> None:
    assert after("StandingIn", pod=POD, process="Ready") == "HandingOver"


def test_a_process_that_has_not_served_yet_ends_at_once_when_the_pod_is_ready() -> None:
    assert after("StandingIn", pod=POD, process="Starting") == "Draining"


def test_the_process_drains_only_once_the_rules_of_the_cluster_lead_to_the_pod() -> None:
    assert after("HandingOver", 99.0, pod=POD, process="Ready") == "HandingOver"
    assert after("HandingOver", pod=POD, led=True, process="Ready") == "Draining"


def test_a_pod_that_fails_during_the_hand_over_gives_the_ports_back() -> None:
    assert after("HandingOver", process="Ready") == "StandingIn"


def test_draining_ends_with_the_process() -> None:
    assert after("Draining", process="Ready") == "Draining"
    assert after("Draining", process="None") == "Done"


def test_a_phase_keeps_its_beginning_until_it_changes() -> None:
    waiting = Phase("Waiting", 100.0)
    seen = Seen(kept=True, pod="", led=False, process="None")
    assert follow(waiting, seen, 110.0, PATIENCE) is waiting
    assert follow(waiting, seen, 140.0, PATIENCE) == Phase("StandingIn", 140.0)
