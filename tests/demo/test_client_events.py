import pytest

from demo.client import bandwidth_in
from demo.client_events import Signal, read
from demo.errors import LoadFailed
from demo.statistics import LinkSample, RequestResult


def test_a_response_is_read_with_its_route() -> None:
    line = '{"event": "answer", "sent": 5.5, "latency": 0.04, "right": true, "exit": "exit5", "cut": "pool1"}'
    assert read("edge-a", line) == RequestResult("edge-a", 5.5, 0.04, True, "exit5", "pool1")


def test_a_request_without_a_response_is_read_as_failed() -> None:
    found = read("edge-a", '{"event": "answer", "sent": 5.5, "latency": 5.0, "error": "no answer in 5 s"}')
    assert isinstance(found, RequestResult)
    assert found.failed


def test_a_link_that_is_down_has_no_bandwidth() -> None:
    assert read("edge-a", '{"event": "link", "at": 1.0, "bps": null}') == LinkSample("edge-a", 1.0, None)


def test_signals_are_read() -> None:
    assert read("edge-a", '{"event": "ready"}') == Signal("ready")


@pytest.mark.parametrize(
    "line", ["Traceback (most recent call last):", '{"event": "hello"}', "[]", '{"sent": 1}']
)
def test_a_line_that_is_not_an_event_is_shown_in_the_error(line: str) -> None:
    with pytest.raises(LoadFailed, match="the client at edge-a"):
        read("edge-a", line)


def test_the_bandwidth_is_found_among_the_metrics() -> None:
    text = (
        '# TYPE edge_link_bandwidth_bits gauge\nedge_link_bandwidth_bits{peer="cloud",service="d"} 3.92e+06\n'
    )
    assert bandwidth_in(text) == 3.92e6


def test_metrics_without_a_bandwidth_are_an_error_not_a_zero() -> None:
    with pytest.raises(ValueError, match="edge_link_bandwidth_bits"):
        bandwidth_in("edge_slo_requests_total 3\n")
