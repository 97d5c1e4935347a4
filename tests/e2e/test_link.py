"""The route follows the bandwidth, and no request is lost."""

import statistics

import pytest

from edge_api.quantities import parse_quantity
from trials import Trial


def test_the_route_follows_the_link_down_and_up_and_no_request_is_lost(trial: Trial) -> None:
    with trial.load("edge-a") as load:
        trial.cluster.set_links(20e6)
        fast = load.wait_for_cut()
        trial.cluster.set_links(0.0)
        load.wait_for_local()
        trial.cluster.set_links(20e6)
        again = load.wait_for_cut()
    load.check_none_lost()
    assert fast["exit"] == again["exit"]


def test_less_bandwidth_never_chooses_a_more_accurate_exit(trial: Trial) -> None:
    for placement in trial.placements().values():
        accuracies = [route["accuracy"] for route in placement["spec"]["routes"]]
        assert accuracies == sorted(accuracies, reverse=True)
        assert placement["spec"]["routes"][-1]["cut"] == "local"
        needs = [parse_quantity(route["minBandwidth"]) for route in placement["spec"]["routes"]]
        assert len([need for need in needs if need]) <= 3


@pytest.mark.parametrize("rate", [1e6, 4e6])
def test_the_measured_bandwidth_is_that_of_the_link(trial: Trial, rate: float) -> None:
    """Within half of it, which tells the two rates apart: a busy machine delays packets, too."""
    with trial.load("edge-a") as load:
        trial.cluster.set_links(rate)

        def recent() -> list[float]:
            return [link["bps"] for link in load.links[-5:] if link["bps"]]

        def settled() -> bool:
            return len(recent()) == 5 and abs(statistics.median(recent()) / rate - 1) <= 0.5

        trial.wait(f"a measured bandwidth near {rate:g} bit/s for 5 s", settled)
