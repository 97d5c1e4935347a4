"""The next hop hangs, dies, refuses, slows down: no request fails while there is a local route."""

from __future__ import annotations

import urllib.error
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

Stack = Any


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(9).normal(size=(1, 1, 16, 16)).astype(np.float32)


@pytest.fixture
def split(stack: Stack, image: Any) -> Stack:
    """Serves through the link."""
    stack.start(stack.placement(stack.remote("pool1"), stack.local("exit1")))
    stack.wait_for_route(image, "final@pool1")
    return stack


def _logits(answer: Any) -> Any:
    return np.array(answer["outputs"][0]["data"], np.float32).reshape(answer["outputs"][0]["shape"])


def test_a_split_model_answers_as_the_whole_one(split: Stack, chain_model: bytes, images: Any) -> None:
    session = ort.InferenceSession(chain_model)
    for batch in (images[:1], images):
        answer = split.infer(batch)
        assert answer["parameters"]["cut"] == "pool1"
        np.testing.assert_allclose(
            _logits(answer), session.run(["logits"], {"image": batch})[0], rtol=1e-4, atol=1e-5
        )


def test_a_cut_at_the_input_sends_everything_on(stack: Stack, image: Any, chain_model: bytes) -> None:
    stack.start(stack.placement(stack.remote("image"), stack.local("exit1")))
    stack.wait_for_route(image, "final@image")
    expected = ort.InferenceSession(chain_model).run(["logits"], {"image": image})[0]
    np.testing.assert_allclose(_logits(stack.infer(image)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fault", ["hang", "break", "refuse"])
def test_a_hop_that_fails_is_answered_by_the_local_route_in_time(
    split: Stack, image: Any, chain_model: bytes, fault: str
) -> None:
    split.hop.mode = split.probe.mode = fault
    expected = ort.InferenceSession(chain_model).run(["exit1_logits"], {"image": image})[0]
    answers = [split.infer(image) for _ in range(10)]
    for answer in answers:
        assert answer["parameters"]["route"] == "exit1@local"
        assert answer["parameters"]["deadline_met"] is True
        np.testing.assert_allclose(_logits(answer), expected, rtol=1e-4, atol=1e-5)
    assert split.metric("edge_deadline_fallbacks_total") >= 1


def test_while_the_link_is_down_requests_do_not_try_it_and_its_return_is_noticed(
    split: Stack, image: Any
) -> None:
    split.hop.mode = split.probe.mode = "hang"
    for _ in range(2):  # a single late response can be chance
        split.infer(image)
    fallbacks = split.metric("edge_deadline_fallbacks_total")
    for _ in range(20):
        assert split.infer(image)["parameters"]["route"] == "exit1@local"
    assert split.metric("edge_deadline_fallbacks_total") == fallbacks
    split.wait(lambda: split.metric("edge_link_bandwidth_bits") == 0)
    split.hop.mode = split.probe.mode = "pass"
    split.wait_for_route(image, "final@pool1")


def test_a_server_that_hangs_behind_a_good_link_is_tried_rarely(split: Stack, image: Any) -> None:
    split.hop.mode = "hang"
    routes = [split.infer(image)["parameters"] for _ in range(50)]
    assert {r["route"] for r in routes} == {"exit1@local"}
    assert all(r["deadline_met"] for r in routes)
    assert split.metric("edge_deadline_fallbacks_total") <= 3


def test_without_a_local_route_a_failed_hop_is_a_503_with_a_message(stack: Stack, image: Any) -> None:
    stack.start(stack.placement(stack.remote("image"), mode="CloudOnly", latency="100ms"))
    stack.wait_for_route(image, "final@image")
    stack.hop.mode = "break"
    with pytest.raises(urllib.error.HTTPError) as caught:
        stack.infer(image)
    with caught.value as error:
        assert error.code == 503
        assert b"cloud: " in error.read()
    stack.hop.mode = "pass"
    assert stack.infer(image)["parameters"]["route"] == "final@image"


@pytest.mark.parametrize(("rate", "route"), [(None, "final@relu1"), (0.0, "exit1@local")])
def test_below_its_planned_bandwidth_a_route_serves_only_requests_within_the_planned_rate(
    stack: Stack, image: Any, rate: float | None, route: str
) -> None:
    """A request takes 70 ms of its 2 s on the slow link, so it is in time there."""
    more = {} if rate is None else {"rate": rate}
    remote, local = stack.remote("relu1", need="4M"), stack.local("exit1")
    stack.start(stack.placement(remote, local, latency="2s", **more))
    stack.wait_for_route(image, "final@relu1")
    stack.hop.rate = stack.probe.rate = 60_000  # 0.48 Mbit/s
    stack.wait(lambda: 0 < stack.metric("edge_link_bandwidth_bits") < 1.5e6)
    stack.wait_for_route(image, route)
    stack.hop.rate = stack.probe.rate = None
    stack.wait_for_route(image, "final@relu1")


def test_nothing_is_sent_that_cannot_arrive_in_time(stack: Stack, image: Any) -> None:
    stack.start(stack.placement(stack.remote("relu1"), stack.local("exit1")))
    stack.hop.rate = stack.probe.rate = 60_000  # 0.48 Mbit/s
    stack.wait(lambda: 0 < stack.metric("edge_link_bandwidth_bits") < 1e6)
    answer = stack.infer(np.repeat(image, 64, axis=0))  # 64 x 4 KiB: over four seconds
    assert answer["parameters"]["route"] == "exit1@local"
    assert answer["parameters"]["deadline_met"] is True
    assert 'edge_deadline_fallbacks_total{reason="busy",service="digits"} 1.0' in stack.metrics()
