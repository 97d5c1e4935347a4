import pytest

from demo.statistics import (
    LinkSample,
    RequestResult,
    median_bps,
    most_frequent,
    quantile,
    route_switches,
    summarise,
)


def answered(
    latency: float, right: bool = True, route: tuple[str, str] = ("exit5", "pool1")
) -> RequestResult:
    return RequestResult("edge-a", 0.0, latency, right, *route)


LOST = RequestResult("edge-a", 0.0, 5.0, error="no response within 5 s")


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert quantile(values, 0.95) == 95.0
    assert quantile(values, 0.5) == 50.0
    assert quantile([3.0], 0.95) == 3.0


def test_a_quantile_of_nothing_is_none() -> None:
    assert quantile([], 0.5) is None


def test_a_failed_request_counts_against_the_attainment_but_not_in_accuracy_or_latency() -> None:
    found = summarise([answered(0.1), answered(0.1, right=False), answered(0.3), LOST], slo_seconds=0.15)
    assert (found.requests, found.failed) == (4, 1)
    assert found.attainment == 0.5
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.p95 == 0.3


@pytest.mark.parametrize("error", ["[429] 3 wait: retry in 1 s", "[StatusCode.RESOURCE_EXHAUSTED] 3 wait"])
def test_a_busy_nodes_refusal_counts_as_refused_over_both_protocols(error: str) -> None:
    found = summarise([RequestResult("edge-a", 0.0, 0.01, error=error), LOST], slo_seconds=0.15)
    assert (found.failed, found.refused) == (2, 1)


def test_a_response_exactly_at_the_slo_meets_it() -> None:
    assert summarise([answered(0.15)], slo_seconds=0.15).attainment == 1.0


def test_without_requests_there_is_no_attainment_rather_than_a_good_one() -> None:
    found = summarise([], slo_seconds=0.15)
    assert (found.requests, found.attainment, found.accuracy, found.p50, found.exit) == (
        0,
        None,
        None,
        None,
        None,
    )


def test_with_every_request_lost_the_attainment_is_zero_and_there_is_no_accuracy() -> None:
    found = summarise([LOST, LOST], slo_seconds=0.15)
    assert (found.attainment, found.accuracy, found.exit) == (0.0, None, None)


def test_exit_and_cut_are_those_of_most_requests_taken_together() -> None:
    pairs = [("exit5", "pool1"), ("exit3", "local"), ("exit5", "reduce2"), ("exit3", "local")]
    assert most_frequent(pairs) == ("exit3", "local")


def test_switches_are_counted_per_node_and_in_the_order_of_sending() -> None:
    def at(node: str, sent: float, cut: str, error: str | None = None) -> RequestResult:
        return RequestResult(node, sent, 0.1, True, "exit5", cut, error)

    told = [at("b", 3.0, "local"), at("a", 1.0, "pool1"), at("b", 1.5, "pool1"), at("a", 2.0, "pool1")]
    assert route_switches(told) == 1
    assert route_switches([*told, at("a", 2.5, "local"), at("a", 2.7, "pool1", error="lost")]) == 2


def test_the_measured_bandwidth_is_the_middle_one() -> None:
    samples = [LinkSample("a", 0.0, bps) for bps in (1e6, 9e6, 1.1e6)]
    assert median_bps(samples) == 1.1e6


def test_a_link_taken_for_down_most_of_the_time_has_no_bandwidth() -> None:
    assert (
        median_bps([LinkSample("a", 0.0, None), LinkSample("a", 1.0, None), LinkSample("a", 2.0, 1e6)])
        is None
    )
    assert median_bps([]) is None
