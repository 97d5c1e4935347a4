"""Sequences of tritonclient, as in the examples sequence_stream and sequence_sync of Triton."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from onnx import helper
from tritonclient.utils import InferenceServerException

from edge_runtime.errors import BadRequest
from edge_runtime.sequences.flags import WantedState
from messages import mentions
from networks import info, model_of

Served = Any
Module = Any
Client = tuple[Module, Any]
STATE = WantedState([("total_out", "total_in", 100.0)], most=3)


def accumulator(*sizes: int | str) -> bytes:
    """Adds its input to a total of this shape, which it returns twice."""
    return model_of(
        [
            helper.make_node("Add", ["INPUT", "total_in"], ["OUTPUT"]),
            helper.make_node("Identity", ["OUTPUT"], ["total_out"]),
        ],
        [info("INPUT", "N", 1, datatype="INT32"), info("total_in", *sizes, datatype="INT32")],
        [info("OUTPUT", "N", 1, datatype="INT32"), info("total_out", "N", 1, datatype="INT32")],
    )


@pytest.fixture(scope="module")
def served(serve: Callable[..., Served]) -> Served:
    return serve(accumulator("N", 1), state=STATE)


@pytest.fixture(params=["HTTP", "gRPC"])
def client(request: pytest.FixtureRequest, served: Served) -> Iterator[Client]:
    module = over_http if request.param == "HTTP" else over_grpc
    port = served.http if request.param == "HTTP" else served.grpc
    with module.InferenceServerClient(f"127.0.0.1:{port}") as made:
        yield module, made


def add(client: Client, number: int, sequence: int | str, **flags: bool) -> int:
    """The total of a sequence after one more number."""
    module, asked = client
    given = module.InferInput("INPUT", [1, 1], "INT32")
    given.set_data_from_numpy(np.full((1, 1), number, np.int32))
    found = asked.infer("m", [given], sequence_id=sequence, **flags)
    return int(found.as_numpy("OUTPUT")[0, 0])


@pytest.mark.parametrize("names", [(1007, 1008), ("left", "right")])
def test_two_sequences_add_up_apart(client: Client, names: tuple[int | str, int | str]) -> None:
    totals: dict[int | str, list[int]] = {name: [] for name in names}
    numbers = [11, 7, 5, 3]
    for i, number in enumerate(numbers):
        for name, sign in zip(names, (1, -1), strict=True):
            flags = {"sequence_start": i == 0, "sequence_end": i == len(numbers) - 1}
            totals[name].append(add(client, sign * number, name, **flags))
    assert list(totals.values()) == [[111, 118, 123, 126], [89, 82, 77, 74]]
    with pytest.raises(InferenceServerException, match=mentions("sequence_start")):
        add(client, 1, names[0])


def test_a_stream_carries_sequences_in_order(served: Served) -> None:
    answers = queue.Queue[tuple[Any, Any]]()
    with over_grpc.InferenceServerClient(f"127.0.0.1:{served.grpc}") as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for i in range(20):
            given = over_grpc.InferInput("INPUT", [1, 1], "INT32")
            given.set_data_from_numpy(np.full((1, 1), i, np.int32))
            client.async_stream_infer(
                "m", [given], sequence_id=42, sequence_start=i == 0, sequence_end=i == 19
            )
        found = [answers.get(timeout=10) for _ in range(20)]
        client.stop_stream()
    assert [error for _, error in found] == [None] * 20
    assert [int(result.as_numpy("OUTPUT")[0, 0]) for result, _ in found] == [
        100 + sum(range(i + 1)) for i in range(20)
    ]


def test_the_state_is_not_part_of_the_models_metadata(client: Client) -> None:
    _, asked = client
    metadata = asked.get_model_metadata("m")
    if not isinstance(metadata, dict):
        metadata = {
            "inputs": [{"name": each.name} for each in metadata.inputs],
            "outputs": [{"name": each.name} for each in metadata.outputs],
        }
    assert [each["name"] for each in metadata["inputs"]] == ["INPUT"]
    assert [each["name"] for each in metadata["outputs"]] == ["OUTPUT"]


def test_a_request_without_a_sequence_is_refused(client: Client) -> None:
    with pytest.raises(InferenceServerException, match=mentions("parameters.sequence_id", "missing")):
        add(client, 1, 0)


def test_more_sequences_than_are_kept_are_refused(client: Client) -> None:
    try:
        for name in ("a", "b", "c"):
            assert add(client, 1, name, sequence_start=True) == 101
        with pytest.raises(InferenceServerException, match=mentions("3 sequences")):
            add(client, 1, "d", sequence_start=True)
    finally:
        for name in ("a", "b", "c"):
            add(client, 1, name, sequence_start=True, sequence_end=True)


@pytest.mark.parametrize(
    ("state", "parts"),
    [
        (WantedState([("total_out", "other", 0.0)]), ("total_out=other", "INPUT, total_in")),
        (WantedState([("other", "total_in", 0.0)]), ("other=total_in", "OUTPUT, total_out")),
        (WantedState([("total_out", "total_in", 0.0)] * 2), ("total_in", "twice")),
    ],
)
def test_a_state_that_the_model_lacks_is_refused(
    serve_with: Callable[..., Served], state: WantedState, parts: tuple[str, ...]
) -> None:
    with pytest.raises(BadRequest, match=mentions("--state", *parts)):
        serve_with(accumulator("N", 1), state=state)


def test_a_state_with_an_open_size_needs_a_shape(serve_with: Callable[..., Served]) -> None:
    with pytest.raises(BadRequest, match=mentions("total_in", "--shape")):
        serve_with(accumulator("N", "M"), state=STATE)
