"""The disk is sufficient for a start, also if it is full or damaged."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Stack = Any
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(9).normal(size=(1, 1, 16, 16)).astype(np.float32)


@pytest.fixture
def silent_store() -> Iterator[str]:
    """An address that accepts connections without responding, like a store behind a cut link."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _slices(stack: Stack, route: Any) -> list[Path]:
    stages = [s for s in route["stages"] if "address" not in s]
    folder = stack.folder / "cache-digits" / "slices"
    return [folder / s["slice"]["digest"].removeprefix("sha256:") for s in stages]


def _next(placement: Any, generation: int) -> Any:
    placement["metadata"]["generation"] = generation
    return placement


def _damage(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def test_a_damaged_head_leaves_the_local_route_until_the_store_is_back(stack: Stack, image: Any) -> None:
    remote = stack.remote()
    stack.start(stack.placement(remote, stack.local()))
    stack.wait_for_route(image, "final@pool1")
    stack.stop_edge()
    _damage(*_slices(stack, remote))
    stack.start_edge(None, NOWHERE)
    stack.wait(lambda: stack.metric("edge_link_bandwidth_bits") > 0, within=10)
    assert stack.infer(image)["parameters"]["route"] == "exit1@local"
    stack.stop_edge()
    stack.start_edge(None)
    stack.wait_for_route(image, "final@pool1")


def test_a_store_that_does_not_answer_holds_up_no_start(stack: Stack, image: Any, silent_store: str) -> None:
    remote = stack.remote()
    stack.start(stack.placement(remote, stack.local()))
    stack.stop_edge()
    _slices(stack, remote)[0].unlink()
    stack.hop.mode = stack.probe.mode = "hang"
    stack.start_edge(None, silent_store)
    assert stack.infer(image)["parameters"]["route"] == "exit1@local"


@pytest.mark.parametrize("damaged", ["slice", "placement"])
def test_when_the_last_local_route_is_damaged_the_one_before_serves(
    stack: Stack, image: Any, damaged: str
) -> None:
    last = stack.local("exit2")
    stack.start(stack.placement(stack.local("exit1")))
    stack.place(_next(stack.placement(last), 2))
    stack.wait_for_route(image, "exit2@local")
    kept = stack.folder / "cache-digits" / "placement.before.json"
    stack.wait(kept.is_file, within=5)
    stack.stop_edge()
    _damage(_slices(stack, last)[0] if damaged == "slice" else kept.with_name("placement.json"))
    stack.start_edge(None, NOWHERE)
    assert stack.infer(image)["parameters"]["route"] == "exit1@local"


def test_a_full_disk_prevents_no_switch_and_keeps_the_previous_file(
    stack: Stack, image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.start(stack.placement(stack.local("exit1")))
    later = [_next(stack.placement(stack.local(e)), g) for g, e in ((2, "exit2"), (3, "final"))]
    whole, refused = os.fsync, []

    def full(handle: int) -> None:
        refused.append(handle)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for placement in later:
        stack.place(placement)
        stack.wait_for_route(image, placement["spec"]["routes"][0]["name"])
    stack.wait(lambda: len(refused) >= 4, within=5)
    stack.stop_edge()
    assert not list((stack.folder / "cache-digits").rglob(".incoming-*"))
    monkeypatch.setattr(os, "fsync", whole)
    stack.start_edge(None, NOWHERE)
    assert stack.infer(image)["parameters"]["route"] == "exit1@local"
    stack.stop_edge()
    stack.start_edge(later[-1])
    stack.wait_for_route(image, "final@local")
