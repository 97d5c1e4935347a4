import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import mentions
from testbed.errors import BadValueError
from testbed.network import FRAME_BYTES, shaping
from testbed.rates import checked_rate, format_rate, parse_loss, parse_rate


@pytest.mark.parametrize(
    ("text", "bps"),
    [("250k", 250_000), ("2M", 2e6), ("0.25M", 250_000), ("1000000", 1e6), ("1g", 1e9), ("none", None)],
)
def test_a_rate_is_read_in_bits_per_second(text: str, bps: float | None) -> None:
    assert parse_rate(text) == bps


@pytest.mark.parametrize("text", ["2X", "", "fast", "-1M", "2 M", "2MB", "1e6"])
def test_an_invalid_rate_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadValueError, match=mentions("bit/s", "250k", "2M", "none")):
        parse_rate(text)


@pytest.mark.parametrize("bps", [0, 9_999, 11e9])
def test_a_rate_that_cannot_be_shaped_is_refused(bps: float) -> None:
    with pytest.raises(BadValueError, match=mentions("10k", "10G", "--cut")):
        checked_rate(bps)


@given(st.integers(min_value=10_000, max_value=10_000_000).map(lambda kilo: float(kilo * 100)))
def test_a_rate_reads_back_as_it_was_shown(bps: float) -> None:
    shown = parse_rate(format_rate(bps))

    assert shown is not None
    assert shown == pytest.approx(bps, rel=1e-5)


@pytest.mark.parametrize("bps", [250e3, 1e6, 4e6, 20e6])
def test_a_small_activation_does_not_fit_into_the_burst(bps: float) -> None:
    words = shaping(bps)
    burst = int(words[words.index("burst") + 1])

    assert FRAME_BYTES <= burst <= 16_384 / 8


@pytest.mark.parametrize(("bps", "queue_seconds"), [(250e3, 1.163), (1e6, 0.291), (20e6, 0.2)])
def test_a_queue_holds_a_fifth_of_a_second_or_what_a_young_connection_sends(
    bps: float, queue_seconds: float
) -> None:
    words = shaping(bps)
    limit = int(words[words.index("limit") + 1])

    assert limit * 8 / bps == pytest.approx(queue_seconds, rel=0.05)


@pytest.mark.parametrize(("text", "share"), [("0.01", 0.01), ("0.5", 0.5), ("none", None)])
def test_a_loss_is_read_as_a_share_of_packets(text: str, share: float | None) -> None:
    assert parse_loss(text) == share


@pytest.mark.parametrize("text", ["1%", "", "1", "0", "-0.1", "nan", "0.00001"])
def test_an_invalid_loss_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(BadValueError, match=r"use .*0\.\d+.* or none"):
        parse_loss(text)
