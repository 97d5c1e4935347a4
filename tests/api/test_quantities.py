import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from edge_api.quantities import (
    Attainment,
    Duration,
    Quantity,
    Share,
    format_attainment,
    format_bandwidth,
    format_duration,
    format_quantity,
    parse_duration,
    parse_quantity,
    parse_share,
)
from messages import mentions


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100ms", 0.1),
        ("0.1s", 0.1),
        ("250us", 0.00025),
        ("1.5m", 90.0),
        ("24h", 86400.0),
        ("0s", 0.0),
        ("2s", 2.0),
        ("1m30s", 90.0),
        ("1h2m3.5s", 3723.5),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("100ns", 1e-7),
        ("100µs", 1e-4),  # the micro sign
        ("100μs", 1e-4),  # the Greek letter, as Go has both
        ("0.9ns", 0.0),  # to the nanosecond, as Go
        ("2562047h", 2562047 * 3600.0),
    ],
)
def test_durations_are_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ms",
        "1 ms",
        "-1ms",
        "+1ms",
        "1m 30s",
        ".s",
        "1m30",
        "1e3ms",
        "100MS",
        "1d",
        "inf",
        "١ms",
        "1s\n",
        "0" * 32 + "1ms",
    ],
)
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=mentions("duration", "unit")):
        parse_duration(text)


def test_a_number_too_large_for_a_float_is_refused_as_a_duration() -> None:
    with pytest.raises(ValueError, match=mentions("duration", "unit")):
        TypeAdapter(Duration).validate_python(10**400)


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_a_duration_survives_being_written_to_four_digits(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=5.1e-4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0871, "87.1ms"),
        (0.15, "150ms"),
        (0.99999, "1s"),
        (1.5, "1.5s"),
        (2.0, "2s"),
        (60.0, "1m0s"),
        (90.0, "1m30s"),
        (3661.0, "1h1m1s"),
        (86400.0, "24h0m0s"),
        (2562047 * 3600.0, "2562047h0m0s"),
        (0.00041, "410µs"),
        (4e-8, "40ns"),
        (1e-10, "0s"),
        (0.0, "0s"),
    ],
)
def test_durations_are_written_as_kubernetes_writes_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert str(Duration(seconds)) == text


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_what_is_not_a_time_cannot_be_written(seconds: float) -> None:
    with pytest.raises(ValueError, match=mentions("finite", "negative")):
        format_duration(seconds)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3100000", 3_100_000),
        ("10M", 10_000_000),
        ("512Mi", 536_870_912),
        ("3.1M", 3_100_000),
        (".5k", 500),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("+5k", 5000),
        ("1e-0", 1),
        ("1000m", 1),
        ("1.1Ki", 1127),  # rounded up, as Kubernetes' Value() does
        ("1500m", 2),
        ("0", 0),
        ("5.", 5),
    ],
)
def test_quantities_follow_kubernetes(text: str, value: int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "M", "10 M", "-1", "10mb", "1MiB", "0x10", "1e", "1.2.3", "nan", "10K"])
def test_an_invalid_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    "text", ["9223372036854775808", "10E", "16E", "1e999999", "1e999999999", "8Ei", "9" * 32]
)
def test_quantities_beyond_64_bits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=mentions("quantity", "2^63 - 1")):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["1.5m", "100m", "1u", "999n", "0.5", "1e-1", "1e-999999", "1e-9999999999"])
def test_a_fraction_of_a_byte_or_a_bit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=mentions("fractions", "whole")):
        parse_quantity(text)


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_quantity_survives_being_written_exactly(value: int) -> None:
    assert parse_quantity(format_quantity(value)) == value
    assert Quantity.parse(str(Quantity(value))) == value


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (19_873_412, "19.9M"),
        (3_920_000.0, "3.92M"),
        (850_400, "850k"),
        (999_600, "1M"),
        (-0.0, "0"),
    ],
)
def test_a_measured_bandwidth_is_written_with_three_digits(rate: float, text: str) -> None:
    assert format_bandwidth(rate) == text
    assert parse_quantity(text) == pytest.approx(rate, rel=5e-3)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        *((1.0, "1"), (0.97, "0.97"), (0.95, "0.95"), (0.9496, "0.949"), (0.99873, "0.9987")),
        *((0.5, "0.5"), (0.12345, "0.12"), (0.0, "0"), (0.999999, "0.999999")),
    ],
)
def test_an_attainment_is_rounded_down_to_two_digits_of_what_is_missing(share: float, text: str) -> None:
    assert format_attainment(share) == text
    assert str(Attainment(share)) == text


@given(st.floats(min_value=0, max_value=1), st.sampled_from([0.9, 0.95, 0.99, 0.999]))
def test_an_attainment_below_the_objective_is_not_written_as_if_it_met_it(share: float, goal: float) -> None:
    if share < goal - 1e-6:
        assert parse_share(format_attainment(share)) < goal


@pytest.mark.parametrize(("text", "share"), [("0.993", 0.993), ("1", 1.0), ("1.0", 1.0), ("0", 0.0)])
def test_shares_are_decimals_in_text(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["1.1", "-0.1", "99%", "", "1e-3"])
def test_an_invalid_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        parse_share(text)


@given(st.floats(min_value=0, max_value=1))
def test_a_share_survives_being_written_to_four_digits(share: float) -> None:
    assert parse_share(str(Share(share))) == pytest.approx(share, rel=5.1e-4)
