"""Shutdown and start: requests in flight are finished, and the disk is sufficient."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

Stack = Any
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(9).normal(size=(1, 1, 16, 16)).astype(np.float32)


def test_a_request_in_flight_is_answered_before_the_runtime_ends(stack: Stack, image: Any) -> None:
    stack.start(stack.placement(stack.remote(), stack.local()))
    stack.wait_for_route(image, "final@pool1")
    stack.hop.mode = "hang"
    answers: list[Any] = []
    asked = threading.Thread(target=lambda: answers.append(stack.infer(image)))
    asked.start()
    stack.wait(lambda: stack.hop.held > 0, within=5)
    stack.stop_edge()
    asked.join(10)
    assert answers[0]["parameters"]["route"] == "exit1@local"
    assert not stack.is_ready()


def test_without_store_link_and_placement_it_serves_what_it_kept_on_disk(stack: Stack, image: Any) -> None:
    stack.start(stack.placement(stack.remote(), stack.local()))
    stack.wait_for_route(image, "final@pool1")
    before = stack.infer(image)
    stack.stop_edge()
    stack.hop.mode = stack.probe.mode = "refuse"
    stack.start_edge(None, NOWHERE)
    assert stack.infer(image)["parameters"]["route"] == "exit1@local"
    stack.hop.mode = stack.probe.mode = "pass"
    stack.wait_for_route(image, "final@pool1")
    np.testing.assert_allclose(
        stack.infer(image)["outputs"][0]["data"], before["outputs"][0]["data"], rtol=1e-5
    )


def test_a_slice_that_the_disk_changed_is_fetched_again(stack: Stack, image: Any) -> None:
    placement = stack.placement(stack.local("exit2"))
    stack.start(placement)
    expected = stack.infer(image)["outputs"][0]["data"]
    stack.stop_edge()
    (slice_,) = (stack.folder / "cache-digits" / "slices").iterdir()
    whole = slice_.read_bytes()
    slice_.write_bytes(whole[:100] + b"x" + whole[101:])
    stack.start_edge(placement)
    assert stack.infer(image)["outputs"][0]["data"] == expected
    assert slice_.read_bytes() == whole
