"""W3C Trace Context, parsed as strictly as the standard requires."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.tracing.contexts import parse, parse_state, read
from edge_runtime.tracing.startup import wanted

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_a_parent_is_read() -> None:
    context = parse([GOOD], ["vendor=t61rcWkgMzE", "other@x=1, ,rojo=00f067"])
    assert context is not None
    assert (context.trace_id, context.span_id, context.flags) == (TRACE, SPAN, 1)
    assert context.lines() == (
        f"traceparent: {GOOD}\r\ntracestate: vendor=t61rcWkgMzE,other@x=1,rojo=00f067\r\n"
    )


def test_a_later_version_with_more_behind_it_is_read_and_is_forwarded_unchanged() -> None:
    later = f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"
    context = parse([later])
    assert context is not None
    assert context.lines() == f"traceparent: {later}\r\n"
    assert parse([f"cc-{TRACE}-{SPAN}-01"]) is not None
    assert parse([f"cc-{TRACE}-{SPAN}-01.what"]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "00",
        GOOD.upper(),
        f"{GOOD}-more",
        f"{GOOD} ,x",
        f"{GOOD}\r\nx: y",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-.1",
        f"0x-{TRACE}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-01-é",
    ],
)
def test_a_wrong_parent_is_none(wrong: str) -> None:
    assert parse([wrong]) is None


def test_two_parents_are_none() -> None:
    assert parse([GOOD, GOOD]) is None
    assert read([(b"traceparent", GOOD.encode())] * 2) is None
    assert read([("traceparent", GOOD), ("user-agent", "x")]) == parse([GOOD])


@pytest.mark.parametrize("wrong", ["a", "=1", "A=1", "a=1,a=2", "a=1=2", "a=é", "a=b\x00", f"{'k' * 257}=1"])
def test_a_wrong_state_is_left_out_and_the_parent_stays(wrong: str) -> None:
    context = parse([GOOD], [wrong])
    assert context is not None
    assert context.lines() == f"traceparent: {GOOD}\r\n"


def test_a_state_of_more_than_32_members_is_left_out() -> None:
    members = [f"k{i}={i}" for i in range(33)]
    assert parse_state(",".join(members[:32])) == ",".join(members[:32])
    assert parse_state(",".join(members)) == ""


def test_of_a_long_state_first_the_long_members_go_then_the_last() -> None:
    long, short = f"a={'x' * 200}", [f"k{i:02}={'y' * 60}" for i in range(8)]
    kept = parse_state(",".join([long, *short]))
    assert kept == ",".join(short[:7])
    assert len(kept) == 454


@given(st.text(), st.text())
def test_whatever_comes_is_read_without_an_error_and_is_forwarded_as_a_header(
    parent: str, state: str
) -> None:
    context = parse([parent], [state])
    if context is not None:
        assert context.lines().count("\r\n") == 1 + bool(context.state)
    known = parse([GOOD], [state])
    assert known is not None
    assert known.state.isascii()
    assert known.state.isprintable()
    assert len(known.state) <= 512


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "zipkin"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, True),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, False),
    ],
)
def test_spans_are_made_only_where_the_variables_say_where_to(variables: dict[str, str], on: bool) -> None:
    assert wanted(variables) is on
