"""Models of several inputs and outputs on Placements that the operator renders, served by runtimes.

Local routes, tails at a runtime that stands for Triton, and three tiers give what onnxruntime gives.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest

from chains import SERVICE, Runtimes
from detectors import FEEDS, MODELS
from edge_operator.store import ModelStore
from edge_planning.plans import Route
from edge_runtime.tensors import Array

TYPES = {"FP32": np.float32, "INT64": np.int64}


@dataclass(frozen=True)
class Serving:
    """A model in the store, its requests, and runtimes."""

    runtimes: Runtimes
    feeds: Mapping[str, Array]
    whole: Mapping[str, Array]

    def cut(self, number: int) -> str:
        """The name of one of the exit's cuts."""
        return self.runtimes.card.exits[0].cuts[number].tensor

    def response(self, route: str, within: float = 60.0) -> dict[str, Array]:
        """The outputs of a route, as soon as it is the active one."""
        deadline, seen = time.monotonic() + within, ""
        while seen != route:
            assert time.monotonic() < deadline, f"{seen} responds, not {route}"
            reply: dict[str, Any] = self.runtimes.ask("cam", "branches", **self.feeds).json()
            assert "parameters" in reply, reply
            seen = reply["parameters"]["route"]
        return {
            each["name"]: np.array(each["data"], TYPES[each["datatype"]]).reshape(each["shape"])
            for each in reply["outputs"]
        }

    def check(self, route: str) -> None:
        """Fails if a response of the route is not what onnxruntime gives for the whole model."""
        found = self.response(route)
        assert list(found) == list(self.whole)
        for name, right in self.whole.items():
            assert found[name].shape == right.shape
            np.testing.assert_allclose(found[name], right, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=list(MODELS))
def serving(request: pytest.FixtureRequest, store_url: str, tmp_path: Path) -> Iterator[Serving]:
    data, feeds = MODELS[request.param](), FEEDS[request.param]
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    whole = dict(zip(names, session.run(names, dict(feeds)), strict=True))
    with ExitStack() as stack:
        connections = stack.enter_context(httpx.Client())
        connections.put(f"{store_url}/v1/files/branches.onnx", content=data).raise_for_status()
        client = ModelStore(store_url, connections)
        runtimes = Runtimes(client, client.register(SERVICE.spec.model), tmp_path, stack)
        yield Serving(runtimes, feeds, whole)


def test_the_local_route_gives_all_outputs(serving: Serving) -> None:
    serving.runtimes.start()
    serving.check("final@local")


@pytest.mark.parametrize("number", [0, 1])
def test_a_tail_behind_a_cut_gives_all_outputs(serving: Serving, number: int) -> None:
    """The first cut is all inputs, as in mode CloudOnly."""
    head = None if number == 0 else 0.001
    route = Route("final", serving.cut(number), 1.0, 1000, 0.0, 0.05, head, 0.001, 96)
    serving.runtimes.start(route)
    serving.check(route.name)


def test_three_tiers_give_all_outputs(serving: Serving) -> None:
    last = len(serving.runtimes.card.exits[0].cuts) - 1
    cut, second = serving.cut(0 if last == 1 else 1), serving.cut(last)
    head = None if last == 1 else 0.001
    route = Route(
        "final", cut, 1.0, 1000, 0.0, 0.05, head, 0.001, 96, "fp32", "gate", second, 0.001,
    )  # fmt: skip
    serving.runtimes.start(route)
    serving.check(route.name)
