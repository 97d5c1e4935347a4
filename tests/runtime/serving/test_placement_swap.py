"""A new placement replaces the old one without a failed request; one that cannot be loaded is ignored."""

from __future__ import annotations

import threading
import urllib.request
from typing import Any

import numpy as np
import pytest

Stack = Any


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(9).normal(size=(1, 1, 16, 16)).astype(np.float32)


def _next(placement: Any, generation: int) -> Any:
    placement["metadata"]["generation"] = generation
    return placement


def test_swaps_under_load_lose_no_request_and_mix_no_two_tables(stack: Stack, image: Any) -> None:
    stack.start(stack.placement(stack.local("exit1")))
    seen: list[tuple[str, bytes]] = []
    failed: list[Exception] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            try:
                answer = stack.infer(image)
                logits = np.array(answer["outputs"][0]["data"], np.float32).tobytes()
                seen.append((answer["parameters"]["route"], logits))
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for generation in range(2, 8):
        exit_ = ("exit1", "exit2", "final")[generation % 3]
        stack.place(_next(stack.placement(stack.local(exit_)), generation))
        stack.wait_for_route(image, f"{exit_}@local")
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not failed
    assert {route for route, _ in seen} == {"exit1@local", "exit2@local", "final@local"}
    # Each route has its own result for this image, so a response shows its route.
    assert len(set(seen)) == 3


@pytest.mark.parametrize("fault", ["digest", "shape", "field"])
def test_a_placement_that_cannot_be_loaded_leaves_the_old_one_serving(
    stack: Stack, image: Any, fault: str
) -> None:
    stack.start(stack.placement(stack.local("exit1")))
    bad = _next(stack.placement(stack.local("final")), 2)
    slice_ = bad["spec"]["routes"][0]["stages"][0]["slice"]
    if fault == "digest":
        slice_["digest"] = "sha256:" + "0" * 64
    elif fault == "shape":
        slice_["inputs"][0]["shape"] = [-1, 3, 16, 16]
    else:
        bad["spec"]["slo"]["latency"] = "100"
    stack.place(bad)
    for _ in range(20):
        assert stack.infer(image)["parameters"]["route"] == "exit1@local"
    stack.place(_next(stack.placement(stack.local("exit2")), 3))
    stack.wait_for_route(image, "exit2@local")


def test_before_a_placement_is_loaded_it_is_not_ready_and_returns_the_reason(
    stack: Stack, image: Any
) -> None:
    placement = stack.placement(stack.local("exit1"))
    good = placement["spec"]["routes"][0]["stages"][0]["slice"]["digest"]
    stack.start(placement)
    assert stack.is_ready()
    cached = stack.folder / "cache-digits" / "slices" / good.removeprefix("sha256:")
    assert cached.is_file()
    kept = stack.folder / "cache-digits" / "placement.json"
    stack.wait(kept.is_file, within=5)  # it starts serving shortly before


def test_the_link_that_is_measured_shows_in_the_metrics(stack: Stack, image: Any) -> None:
    stack.start(stack.placement(stack.remote(), stack.local()))
    stack.wait_for_route(image, "final@pool1")
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.http}/metrics", timeout=10) as response:
        assert 'edge_link_bandwidth_bits{peer="cloud",service="digits"}' in response.read().decode()
    assert stack.metric("edge_link_bandwidth_bits") > 1e6


BROKEN = {
    "an empty file": b"",
    "no YAML": b"{a: [b",
    "no UTF-8": b"metadata: \xff\xfe",
    "a list": b"[1, 2]",
    "a word for metadata": b"metadata: hello\nspec: {}",
    "nothing for metadata": b"metadata:\nspec: {}",
    "a word for the generation": b"metadata: {name: x, generation: many}\nspec: {}",
}


def test_a_broken_file_ends_nothing_and_the_next_edit_counts_though_its_generation_does_not_grow(
    stack: Stack, image: Any
) -> None:
    stack.start(stack.placement(stack.local("exit1")))
    file = stack.folder / "digits.json"
    for broken in BROKEN.values():
        file.write_bytes(broken)
        threading.Event().wait(0.6)  # checked twice a second
        assert stack.infer(image)["parameters"]["route"] == "exit1@local"
    stack.place(stack.placement(stack.local("exit2")))
    stack.wait_for_route(image, "exit2@local")
    stack.place(stack.placement(stack.local("final")))
    stack.wait_for_route(image, "final@local")
