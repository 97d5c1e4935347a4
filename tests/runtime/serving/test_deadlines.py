"""Requests get a response before their deadline, regardless of the next hop.

The load is what this machine serves at the time, and times exclude those at which it did not run the
test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from edge_planning.routing.routes import DWELL
from stalls import Stalls

Stack = Any
Reply = Any
Step = Callable[[], None]
SLO = 1.0
IN_TIME = 0.98


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(9).normal(size=(1, 1, 16, 16)).astype(np.float32)


@pytest.fixture
def stalls() -> Iterator[Stalls]:
    with Stalls() as found:
        yield found


@pytest.fixture
def split(stack: Stack, image: Any) -> Stack:
    """Serves through the link, with a deadline of SLO."""
    stack.start(stack.placement(stack.remote("pool1"), stack.local("exit1"), latency=f"{1000 * SLO:.0f}ms"))
    stack.wait_for_route(image, "final@pool1")
    return stack


@pytest.fixture
def load(split: Stack, image: Any) -> Callable[..., list[Reply]]:
    """Sends requests for some seconds, with steps at equal shares of the responses."""

    def ask(seconds: float, *steps: Step, most: float = 150) -> list[Reply]:
        rate = split.rate(image, most)
        count = max(round(seconds * rate), 20 * (len(steps) + 1))
        after = {count * i // (len(steps) + 1): step for i, step in enumerate(steps, 1)}
        replies: list[Reply] = split.ask(image, count, rate, steps=after)
        return replies

    return ask


def _seconds(reply: Reply, stalls: Stalls) -> float:
    """The time of a response, without that of the machine."""
    return float(reply.seconds - stalls.between(reply.due, reply.due + reply.seconds))


def _answered(replies: Sequence[Reply]) -> list[Reply]:
    return [r for r in replies if r.status == 200]


def _in_time(replies: Sequence[Reply], stalls: Stalls, within: float = SLO) -> float:
    """The share of responses that were in time. Only while the machine stalled are requests refused."""
    assert {r.status for r in replies} <= {200, 429}
    assert all(r.status == 200 or stalls.between(r.due - within, r.due + r.seconds) > 0 for r in replies)
    return float(np.mean([_seconds(r, stalls) <= within for r in _answered(replies)]))


@pytest.mark.parametrize("fault", ["hang", "break", "refuse", "tear"])
def test_a_hop_that_fails_under_load_costs_no_deadline_and_no_error(
    split: Stack, load: Any, stalls: Stalls, fault: str
) -> None:
    before = 0

    def begin() -> None:
        nonlocal before
        before, split.hop.mode = split.hop.taken, fault

    replies = load(4, begin)
    assert _in_time(replies, stalls) >= IN_TIME
    assert {r.parameters["exit"] for r in _answered(replies)} >= {"exit1", "final"}
    assert split.hop.taken - before < len(replies) / 4  # most of the other half did not try it


def test_many_requests_before_and_behind_a_hung_hop_are_in_time(
    split: Stack, load: Any, stalls: Stalls
) -> None:
    def hang() -> None:
        split.hop.mode = "hang"

    replies = load(10, hang)
    assert _in_time(replies, stalls) >= IN_TIME
    answered = _answered(replies)
    late = [r for r in answered if r.parameters["route"] == "exit1@local"]
    assert len(late) > 0.4 * len(answered)
    # The result of each route is its own, never that of another.
    assert len({(r.parameters["route"], r.data) for r in answered}) == 2


def test_a_hop_that_answers_too_late_is_replaced_and_one_that_is_quick_again_is_taken(
    split: Stack, image: Any, load: Any, stalls: Stalls
) -> None:
    def slow() -> None:
        split.hop.delay = 2 * SLO

    def quick() -> None:
        split.hop.delay = 0.0

    assert _in_time(load(4, slow, quick), stalls) >= IN_TIME
    split.wait_for_route(image, "final@pool1")


def test_a_link_that_flaps_costs_no_deadline_and_no_more_than_a_switch_each_dwell_time(
    split: Stack, image: Any, load: Any, stalls: Stalls
) -> None:
    def down() -> None:
        split.hop.mode = split.probe.mode = "hang"

    def up() -> None:
        split.hop.mode = split.probe.mode = "pass"

    switches = split.metric("edge_route_switches_total")
    replies = load(7, *[down, up] * 4)
    assert _in_time(replies, stalls) >= IN_TIME
    span = max(r.due + r.seconds for r in replies) - replies[0].due
    assert split.metric("edge_route_switches_total") - switches <= span / DWELL + 2
    split.wait_for_route(image, "final@pool1")


def test_a_hung_hop_is_taken_again_within_a_second_of_its_return(
    split: Stack, image: Any, load: Any, stalls: Stalls
) -> None:
    split.hop.mode = "hang"
    load(2, most=50)
    assert split.infer(image)["parameters"]["route"] == "exit1@local"
    split.hop.mode = "pass"
    replies = load(2, most=50)
    first = next(i for i, r in enumerate(replies) if r.parameters["route"] == "final@pool1")
    begin, before = replies[0].due, replies[max(first - 1, 0)].due  # the last that did not take it
    assert before - begin - stalls.between(begin, before) < 1.0
    assert _in_time(replies, stalls) == 1.0


def test_a_client_with_a_short_timeout_is_answered_within_its_own_timeout(
    stack: Stack, image: Any, stalls: Stalls
) -> None:
    """The plan says that the hop takes longer than the caller waits, so the local route answers."""
    patience = 0.5
    far = stack.remote("pool1")
    far["stages"][-1]["predictedCompute"] = "800ms"
    stack.start(stack.placement(far, stack.local("exit1"), latency="5s"))
    stack.wait_for_route(image, "final@pool1")
    stack.hop.delay = 1.0
    replies = stack.ask(image, 40, 20, patience=patience)
    assert {r.status for r in replies} <= {200, 504}
    answered = [r for r in replies if r.status == 200]
    assert {r.parameters["route"] for r in answered} == {"exit1@local"}
    in_time = [_seconds(r, stalls) < patience for r in replies]
    assert sum(in_time) >= 38
    assert sum(r.parameters["deadline_met"] or r.seconds >= patience for r in answered) == len(answered)
    # The hop had no time, so it counts as no failure: a patient caller still gets the cut route.
    assert stack.infer(image)["parameters"]["route"] == "final@pool1"


def test_over_grpc_the_calls_own_deadline_counts(stack: Stack, image: Any) -> None:
    stack.start(stack.placement(stack.remote("pool1"), stack.local("exit1"), latency="5s"))
    stack.wait_for_route(image, "final@pool1")
    stack.hop.mode = "hang"
    given = grpcclient.InferInput("image", image.shape, "FP32")
    given.set_data_from_numpy(image)
    with grpcclient.InferenceServerClient(f"127.0.0.1:{stack.grpc}") as client:
        answer = client.infer("digits", [given], client_timeout=3.0)
    parameters = answer.get_response().parameters
    assert parameters["route"].string_param == "exit1@local"
    assert parameters["deadline_met"].bool_param is True
