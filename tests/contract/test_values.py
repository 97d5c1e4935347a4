"""Quantities and durations have one grammar in the Placement, in flags and at the API server."""

import argparse
import copy
import math
import re
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_api import KINDS, quantities
from edge_api.schemas import definition
from edge_runtime.assignment import parse_placement
from edge_runtime.errors import BadPlacement
from edge_runtime.memoization.flags import add_flags

_IMAGE = {"name": "image", "datatype": "FP32", "shape": [-1, 4]}
_SLICE = {"digest": f"sha256:{0:064}", "size": 1, "inputs": [_IMAGE], "outputs": [_IMAGE]}
PLACEMENT: dict[str, Any] = {
    "metadata": {"name": "p"},
    "spec": {
        "service": "s",
        "node": "n",
        "mode": "Auto",
        "model": {"digest": f"sha256:{0:064}", "inputs": [_IMAGE], "outputs": [_IMAGE]},
        "slo": {"latency": "1s"},
        "link": {"peer": "cloud", "probe": "http://store/v1/probe"},
        "routes": [
            {
                "name": "e@local",
                "exit": "e",
                "cut": "local",
                "accuracy": 0.9,
                "minBandwidth": "0",
                "predictedLatency": "1ms",
                "stages": [{"place": "n", "runtime": "Edge", "slice": _SLICE}],
            }
        ],
    },
}
SUFFIXES = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12),
    "P": Fraction(10**15), "E": Fraction(10**18), "Ki": Fraction(2**10), "Mi": Fraction(2**20),
    "Gi": Fraction(2**30), "Ti": Fraction(2**40), "Pi": Fraction(2**50), "Ei": Fraction(2**60),
}  # fmt: skip
SECONDS = {
    "ns": Fraction(1, 10**9), "us": Fraction(1, 10**6), "µs": Fraction(1, 10**6), "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600),
}  # fmt: skip

digits = st.text("0123456789", max_size=12)
numbers = st.one_of(
    st.text("0123456789", min_size=1, max_size=12),
    st.tuples(st.text("0123456789", min_size=1, max_size=9), digits).map(".".join),
    st.text("0123456789", min_size=1, max_size=9).map(".{}".format),
)
exponents = st.tuples(st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 99)).map(
    lambda parts: f"{parts[0]}{parts[1]}{parts[2]}"
)
anything = st.text("0123456789.+-eEnumkKMGTPEisµhx_ \n\0١", max_size=40)


def outcome(parse: Callable[[str], float], text: str) -> float | None:
    try:
        return parse(text)
    except (ValueError, BadPlacement):
        return None


def spec_with(part: str, field: str, text: object) -> Any:
    """The part of a Placement's spec that the runtime reads, with the text in one field."""
    placement = copy.deepcopy(PLACEMENT)
    placement["spec"][part] = {**placement["spec"].get(part, {}), field: text}
    return getattr(parse_placement(placement).spec, part)


def of_a_flag(flag: str, text: str) -> float:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser)
    try:
        found: float = vars(parser.parse_args([f"{flag}={text}"]))[flag.strip("-").replace("-", "_")]
        return found
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None


def one_quantity(text: str) -> float | None:
    found = {
        outcome(quantities.parse_quantity, text),
        outcome(lambda written: spec_with("link", "budget", written).budget, text),
    }
    assert len(found) == 1, (text, found)
    number = found.pop()
    if number != 0:  # a flag's value must be greater
        assert outcome(lambda written: of_a_flag("--cache-bytes", written), text) == number
    return number


def one_duration(text: str) -> float | None:
    found = {
        outcome(quantities.parse_duration, text),
        outcome(lambda written: spec_with("slo", "latency", written).latency, text),
    }
    assert len(found) == 1, (text, found)
    seconds = found.pop()
    if seconds != 0:
        assert outcome(lambda written: of_a_flag("--cache-max-age", written), text) == seconds
    return seconds


@settings(deadline=None)
@given(st.sampled_from(["", "+"]), numbers, st.sampled_from(sorted(SUFFIXES)))
def test_a_quantity_is_its_number_times_its_suffix(sign: str, number: str, suffix: str) -> None:
    exact = Fraction(Decimal(number)) * SUFFIXES[suffix]
    right = math.ceil(exact) if (exact == 0 or exact >= 1) and exact <= 2**63 - 1 else None
    assert one_quantity(sign + number + suffix) == right


@settings(deadline=None)
@given(numbers, exponents)
def test_a_quantity_may_have_an_exponent_instead(number: str, exponent: str) -> None:
    exact = Fraction(Decimal(number + exponent))
    right = math.ceil(exact) if (exact == 0 or exact >= 1) and exact <= 2**63 - 1 else None
    assert one_quantity(number + exponent) == right


@settings(deadline=None)
@given(st.lists(st.tuples(numbers, st.sampled_from(sorted(SECONDS))), min_size=1, max_size=3))
def test_a_duration_is_the_sum_of_its_terms_to_the_nanosecond(terms: list[tuple[str, str]]) -> None:
    text = "".join(number + unit for number, unit in terms)
    exact = sum((Fraction(Decimal(number)) * SECONDS[unit] for number, unit in terms), Fraction())
    found = one_duration(text)
    if len(text) > quantities.LONGEST or exact > (2**63 - 1) / Fraction(10**9):
        assert found is None
    else:
        assert found == pytest.approx(float(exact), abs=len(terms) * 1e-9, rel=1e-12)


@settings(deadline=None)
@given(anything)
@example("1.5m")
@example("16E")
@example("1Ee5")
@example("1e")
@example("1E")
@example("1e1Ki")
@example("1e+")
@example("--1")
@example("+-1")
@example("1K")
@example("1_000")
@example("1mi")
@example("1e100")
@example("1e-100")
@example("0e999999999")
@example("１")
def test_whatever_the_text_all_read_it_alike(text: str) -> None:
    one_quantity(text)
    one_duration(text)


@settings(deadline=None)
@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.lists(st.integers())))
def test_a_number_without_quotes_is_refused_by_both(value: object) -> None:
    try:
        theirs: int | None = spec_with("link", "budget", value).budget
    except BadPlacement:
        theirs = None
    body = {
        "metadata": {"name": "p"},
        "spec": {
            "nodes": [{"deviceClass": "c", "nodeSelector": {"a": "b"}}],
            "links": {"probeBudget": value},
        },
    }
    try:
        ours: int | None = int(KINDS["DevicePool"].model_validate(body).spec.links.probe_budget)  # type: ignore[attr-defined]
    except ValueError:
        ours = None
    if value is not None:  # null: the API server uses the default
        assert ours == theirs


@pytest.mark.parametrize(
    "text",
    ["1e999999", "1e-999999", "1e9999999", "1e-9999999", "9" * 10**6, "9" * 10**6 + "E", "1e" + "9" * 10**6],
)
def test_no_text_is_worth_computing_for_long(text: str) -> None:
    began = time.process_time()
    assert one_quantity(text) is None
    assert one_duration(text + "s") is None
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("text", ["1e999999", "1e100", "-1", "1" * 33])
def test_the_api_server_s_pattern_refuses_what_is_beyond_every_quantity(text: str) -> None:
    spec = definition(KINDS["DevicePool"])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][
        "spec"
    ]
    budget = spec["properties"]["links"]["properties"]["probeBudget"]
    assert not re.search(budget["pattern"], text) or len(text) > budget["maxLength"]


@settings(deadline=None)
@given(anything | st.tuples(numbers, exponents).map("".join) | numbers.map("{}ms".format))
def test_the_api_server_s_patterns_let_through_whatever_is_read(text: str) -> None:
    for parse, pattern in (
        (quantities.parse_quantity, quantities.QUANTITY_PATTERN),
        (quantities.parse_duration, quantities.DURATION_PATTERN),
    ):
        if outcome(parse, text) is not None:
            assert re.search(pattern, text)
            assert len(text) <= quantities.LONGEST
