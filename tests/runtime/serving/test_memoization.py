"""Placements switch the input filter and the result cache; responses of a fallback are not reused."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import httpx
import numpy as np
import onnx
import pytest

Stack = Any
AGE = "10m"  # longer than any machine needs
FILTER = {"inputFilter": {"action": "Answer", "threshold": 0.02, "maxAge": AGE}}
DROP = {"inputFilter": {"action": "Drop", "threshold": 0.02, "maxAge": AGE}}
CACHE = {"resultCache": {"maxBytes": "64Ki", "maxAge": AGE}}


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(9).normal(size=(1, 1, 16, 16)).astype(np.float32)


def test_repeated_answers_count_as_answered_within_the_slo(stack: Stack, image: Any) -> None:
    stack.start(stack.placement(stack.local("final"), **FILTER, latency="30s"))
    computed = stack.infer(image)
    for _ in range(4):
        answer = stack.infer(image)
        assert answer["parameters"]["filtered"] is True
        assert answer["parameters"]["deadline_met"] is True
        assert answer["parameters"]["route"] == "final@local"
        assert answer["outputs"] == computed["outputs"]
    assert 'edge_slo_requests_total{met="true",namespace="default",service="digits"} 5.0' in stack.metrics()
    assert stack.metric("edge_stage_duration_seconds_count") == 1


def test_they_are_switched_under_load_without_a_lost_request(stack: Stack, image: Any) -> None:
    stack.start(stack.placement(stack.local("final")))
    seen: list[tuple[bool, bool, int]] = []
    failed: list[Exception] = []
    stop = threading.Event()

    def load(shift: float) -> None:
        while not stop.is_set():
            try:
                answer = stack.infer(image + np.float32(shift))
                told = answer["parameters"]
                seen.append((told.get("filtered", False), told.get("cached", False), len(answer["outputs"])))
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=load, args=(shift,)) for shift in (0.0, 1.0)]
    for thread in threads:
        thread.start()
    expected: dict[tuple[bool, bool, int], dict[str, Any]] = {
        (False, False, 1): {},
        (True, False, 1): FILTER,
        (True, False, 0): DROP,
        (False, True, 1): CACHE,
    }
    try:
        for generation, (kind, spec) in enumerate(itertools.chain(expected.items(), expected.items()), 2):
            placement = stack.placement(stack.local("final"), **spec)
            placement["metadata"]["generation"] = generation
            stack.place(placement)
            seen.clear()
            stack.wait(lambda kind=kind: kind in seen or failed, within=20)
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert not failed


def test_what_a_fallback_answered_is_computed_again_when_the_link_is_back(stack: Stack, image: Any) -> None:
    remote, local = stack.remote("pool1"), stack.local("exit1")
    stack.start(stack.placement(remote, local, **CACHE))
    other = image + np.float32(5)
    stack.wait_for_route(other, "final@pool1")
    # Not before the store has reported that the model is repeatable.
    stack.wait(lambda: stack.infer(other)["parameters"].get("cached", False), within=20)
    stack.hop.mode = stack.probe.mode = "hang"
    fallback = stack.infer(image)["parameters"]
    assert fallback["route"] == "exit1@local"
    assert "cached" not in fallback
    assert (
        stack.infer(other)["parameters"]["route"] == "final@pool1"
    )  # cached, and better than the local route
    stack.wait(lambda: stack.metric("edge_link_bandwidth_bits") == 0, within=10)
    assert stack.infer(image)["parameters"]["cached"] is True  # nothing better would respond now
    stack.hop.mode = stack.probe.mode = "pass"
    stack.wait_for_route(image, "final@pool1", within=20)
    assert stack.infer(image)["parameters"]["cached"] is True


def test_a_confident_early_exit_is_not_computed_again(stack: Stack) -> None:
    wish = {"earlyExit": {"mode": "Confidence", "threshold": 0.8}, **CACHE}
    whole = stack.local("final") | {"accuracy": 0.97}  # exit1 has 0.81
    stack.start(stack.placement(whole, latency="30s", link=None, **wish))
    images = np.random.default_rng(4).normal(size=(400, 1, 1, 16, 16)).astype(np.float32) * 3
    unseen, tried = iter(images), [images[0]]

    def left_early() -> bool:  # only after the early exits are loaded, which follow the table
        tried.append(next(unseen))
        return bool(stack.infer(tried[-1])["parameters"]["exit"] == "exit1")

    stack.wait(left_early, within=20)
    again = stack.infer(tried[-1])["parameters"]
    assert (again["exit"], again["cached"]) == ("exit1", True)


def test_a_tail_with_random_operators_runs_every_time(stack: Stack, chain_model: bytes, image: Any) -> None:
    """The node has only the head, which does not show it."""
    model = onnx.load_from_string(chain_model)
    last = next(node for node in model.graph.node if "logits" in node.output)
    last.output[0] = "calm"
    model.graph.node.extend(
        [
            onnx.helper.make_node("RandomNormalLike", ["calm"], ["noise"]),
            onnx.helper.make_node("Add", ["calm", "noise"], ["logits"]),
        ]
    )
    data = model.SerializeToString()
    httpx.put(f"{stack.store}/v1/files/drawing.onnx", content=data).raise_for_status()
    stack.metadata = httpx.post(
        f"{stack.store}/v1/models", json={"storageUri": "store://drawing.onnx"}
    ).json()
    assert "RandomNormalLike" in stack.metadata["unrepeatable"]
    stack.start(stack.placement(stack.remote("pool1"), stack.local("exit1"), **CACHE))
    stack.wait_for_route(image, "final@pool1")
    seen = set()
    for _ in range(5):
        answer = stack.infer(image)
        assert "cached" not in answer["parameters"]
        if answer["parameters"]["route"] == "final@pool1":
            seen.add(tuple(answer["outputs"][0]["data"]))
    assert len(seen) > 1
