"""A run behind a hop that never finishes ends with the entry node's client, or with its timeout."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import endless
from stages import alone, ask, entry, split
from waiting import until

IMAGE = {"name": "image", "datatype": "FP32"}


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The folder of the entry node's sockets, and the port of the stage behind it."""
    model = endless.looping_behind_a_cut()
    tail, placement = split(model, "cut", tmp_path, "")
    with alone(tail, name="tail") as (port, _, _):
        placement["spec"]["routes"][0]["stages"][1]["address"] = f"http://127.0.0.1:{port}"
        with entry(tmp_path, placement) as sockets:
            yield sockets, port


def asked(sockets: Path, n: int, **parameters: Any) -> tuple[int, Any]:
    return ask(sockets, "POST", "/v2/models/digits/infer", endless.document(n, **IMAGE, **parameters))


def test_the_next_stage_is_free_when_the_entry_nodes_client_leaves(stages: tuple[Path, int]) -> None:
    sockets, port = stages
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(sockets / "http.sock"))
            caller.sendall(endless.request(endless.FOREVER, "digits", **IMAGE))
            until(lambda: endless.running(port, "tail") > 0, "it runs beyond the hop")
        until(lambda: endless.running(port, "tail") == 0, "the run ended with its caller")
    assert asked(sockets, 3)[0] == 200


@pytest.mark.parametrize("given", [{}, {"timeout": 100_000}])
def test_the_next_stage_is_free_when_the_hops_time_is_over(
    stages: tuple[Path, int], given: dict[str, int]
) -> None:
    sockets, port = stages
    assert asked(sockets, endless.FOREVER, **given)[0] == (504 if given else 503)
    until(lambda: endless.running(port, "tail") == 0, "the run ended with its time")
    status, document = asked(sockets, 3)
    assert (status, document["outputs"][0]["data"]) == (200, [3.0])
