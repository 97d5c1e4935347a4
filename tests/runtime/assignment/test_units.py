"""Durations and quantities as the API writes them."""

from __future__ import annotations

import pytest

from edge_runtime.units import format_duration, parse_duration, parse_quantity


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("150ms", 0.15), ("4.1ms", 0.0041), ("2s", 2.0), ("800us", 0.0008), ("1.5m", 90.0), ("24h", 86400.0)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "100", "ms", "-1s", "1 s", "1e3s", "1d"])
def test_what_has_no_unit_or_another_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a number and a unit"):
        parse_duration(text)


@pytest.mark.parametrize(
    "seconds", [0.0, 0.0000012, 0.0008, 0.041, 0.0776, 0.99999, 1.0, 12.5, 999.4, 4000.0]
)
def test_a_duration_that_is_written_can_be_read_again(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.01, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3100000", 3.1e6),
        ("10M", 1e7),
        ("512Mi", 2**29),
        ("1.5k", 1500.0),
        ("2e6", 2e6),
        ("2000m", 2),
        ("0", 0.0),
    ],
)
def test_a_quantity_is_read_as_a_number(text: str, number: float) -> None:
    assert parse_quantity(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "fast", "10 M", "M", "-1", "10mb"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity: write a number"):
        parse_quantity(text)
