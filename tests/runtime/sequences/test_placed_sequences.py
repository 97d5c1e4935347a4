"""A placed service of a recurrent model keeps the state of each of its sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from edge_runtime.assignment import parse_placement
from edge_runtime.errors import BadPlacement, BadRequest
from edge_runtime.node_services import NodeServices
from edge_runtime.requests import InferenceRequest
from messages import mentions
from networks import info, model_of
from placed import SmallStore, eventually, node, placed_service, placement

Document = dict[str, Any]


def counter(step: float) -> bytes:
    """Adds its input to a total, and a step."""
    return model_of(
        [
            helper.make_node("Add", ["x", "total"], ["sum"]),
            helper.make_node("Constant", [], ["step"], value_float=float(step)),
            helper.make_node("Add", ["sum", "step"], ["new_total"]),
            helper.make_node("Identity", ["new_total"], ["y"]),
        ],
        [info("x", "batch", 4), info("total", "batch", 4)],
        [info("y", "batch", 4), info("new_total", "batch", 4)],
    )


def recurrent(digest: str, generation: int = 1, **changes: Any) -> Document:
    """A Placement of such a model, whose state the node keeps."""
    x, total, y, new_total = (
        {"name": name, "datatype": "FP32", "shape": [-1, 4]} for name in ("x", "total", "y", "new_total")
    )
    state = {"output": "new_total", "input": "total", "initial": 100, "shape": [1, 4], **changes}
    document = placement("a", digest, generation=generation)
    document["spec"]["model"] = {
        "digest": digest,
        "inputs": [x, total],
        "outputs": [y, new_total],
        "state": [state],
        "sequences": {"maximum": 2, "idleTimeout": "1m"},
    }
    for stage in document["spec"]["routes"][0]["stages"]:
        stage["slice"] |= {"inputs": [x, total], "outputs": [y, new_total]}
    return document


async def ask(services: NodeServices, number: float, sequence: str, *, starts: bool = False) -> float:
    """The total of a sequence after one more number."""
    x = np.full((1, 4), number, np.float32)
    request = InferenceRequest({"x": x}, ["y"], stream=sequence, starts=starts)
    response = await services.models.ask("a", request)
    (y,) = response.outputs
    return float(y[0, 0])


async def test_each_sequence_has_its_state_also_after_a_new_table(tmp_path: Path) -> None:
    store = SmallStore(counter(0))
    async with node(tmp_path, store) as services:
        (digest,) = store.digests
        services.replace([recurrent(digest)])
        await eventually(lambda: services.settled)
        contract = services.models.contract("a")
        assert [t.name for t in contract.inputs] == ["x"]
        assert [t.name for t in contract.outputs] == ["y"]
        assert [
            await ask(services, 1, "left", starts=True),
            await ask(services, 5, "right", starts=True),
        ] == [
            101,
            105,
        ]
        services.replace([recurrent(digest, generation=2)])
        await eventually(lambda: placed_service(services, "a").generations.generation == 2)
        assert [await ask(services, 1, "left"), await ask(services, 5, "right")] == [102, 110]


async def test_a_new_model_does_not_continue_the_states_of_the_old_one(tmp_path: Path) -> None:
    store = SmallStore(counter(0), counter(1000))
    old, new = store.digests
    async with node(tmp_path, store) as services:
        services.replace([recurrent(old)])
        await eventually(lambda: services.settled)
        await ask(services, 1, "left", starts=True)
        services.replace([recurrent(new, generation=2)])
        await eventually(lambda: placed_service(services, "a").generations.generation == 2)
        with pytest.raises(BadRequest, match=mentions('"left"', "sequence_start")):
            await ask(services, 1, "left")
        assert await ask(services, 1, "left", starts=True) == 1101


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"input": "sum"}, ("sum", "total", "new_total")),
        ({"output": "sum"}, ("sum", "total", "new_total")),
        ({"shape": [1, 5]}, ("total", "FP32[-1, 4]", "[1, 5]")),
    ],
)
def test_a_state_that_the_model_does_not_have_is_refused(changes: Document, parts: tuple[str, ...]) -> None:
    with pytest.raises(BadPlacement, match=mentions("model.state", *parts)):
        parse_placement(recurrent("sha256:" + 64 * "0", **changes))
