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
from detectors import FEEDS, MODELS, detector
from edge_operator.store import ModelStore
from edge_planning.plans import Route
from edge_runtime.assignment import parse_placement
from edge_runtime.tensors import Array
from waiting import until

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
    yield from _serving(MODELS[request.param](), FEEDS[request.param], store_url, tmp_path)


def _serving(data: bytes, feeds: Mapping[str, Array], store_url: str, tmp_path: Path) -> Iterator[Serving]:
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


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_tail_behind_a_cut_gives_all_outputs(serving: Serving, number: int) -> None:
    """The first cut is all inputs, as in mode CloudOnly. Outputs are computed before the last one."""
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


@pytest.fixture
def detecting(store_url: str, tmp_path: Path) -> Iterator[Serving]:
    """A model whose boxes are computed long before its scores."""
    yield from _serving(detector(), FEEDS["detector"], store_url, tmp_path)


def by_a_tail(serving: Serving, codec: str = "fp32") -> Route:
    """The route that is cut behind the boxes."""
    return Route("final", serving.cut(-1), 1.0, 1000, 0.0, 0.05, 0.001, 0.001, 192, codec)


def test_the_bytes_of_a_hop_are_those_that_are_planned(serving: Serving) -> None:
    (exit_,) = serving.runtimes.card.exits
    for cut in exit_.cuts[1:]:
        route = Route("final", cut.tensor, 1.0, 1000, 0.0, 0.05, 0.001, 0.001, 8 * cut.bytes)
        placement, _ = serving.runtimes.render(route)
        (found, _) = parse_placement(placement.body()).spec.routes
        assert found.remote is not None
        assert sum(tensor.item_bytes() for tensor in found.remote.slice.inputs) == cut.bytes


def test_an_output_that_is_computed_before_the_cut_costs_no_bytes(detecting: Serving) -> None:
    route = by_a_tail(detecting)
    detecting.runtimes.start(route)
    detecting.check(route.name)
    head, tail = detecting.runtimes.placements["cam"]["spec"]["routes"][0]["stages"]
    assert head["kept"] == ["boxes"]
    assert [tensor["name"] for tensor in tail["slice"]["inputs"]] == ["deep"]
    assert [tensor["name"] for tensor in tail["slice"]["outputs"]] == ["scores", "labels"]


def test_an_intermediate_node_returns_what_it_keeps(detecting: Serving) -> None:
    cut, second = detecting.cut(1), detecting.cut(-1)
    route = Route(
        "final", cut, 1.0, 1000, 0.0, 0.05, 0.001, 0.001, 192, "fp32", "gate", second, 0.001,
    )  # fmt: skip
    detecting.runtimes.start(route)
    detecting.check(route.name)
    head, middle, tail = detecting.runtimes.placements["cam"]["spec"]["routes"][0]["stages"]
    assert (head.get("kept"), middle["kept"], tail.get("kept")) == (None, ["boxes"], None)


def test_a_codec_leaves_what_stays_at_the_node_as_it_is(detecting: Serving) -> None:
    route = by_a_tail(detecting, "int8")
    detecting.runtimes.start(route)
    found = detecting.response(route.name)
    np.testing.assert_allclose(found["boxes"], detecting.whole["boxes"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["scores"], detecting.whole["scores"], atol=0.05)


@pytest.mark.parametrize("codec", ["fp32", "int8"])
def test_the_local_tail_of_a_failed_hop_joins_what_the_head_has_computed(
    detecting: Serving, codec: str
) -> None:
    detecting.runtimes.start(by_a_tail(detecting, codec))
    # The head, the whole model, and the tail, which is loaded last.
    until(lambda: detecting.runtimes.sessions("cam") >= 3, lambda: detecting.runtimes.sessions("cam"))
    detecting.runtimes.stop("cloud-0")
    reply: dict[str, Any] = detecting.runtimes.ask("cam", "branches", **detecting.feeds).json()
    assert reply["parameters"]["route"] == "final@local"
    assert [each["name"] for each in reply["outputs"]] == list(detecting.whole)
    for each in reply["outputs"]:
        found = np.array(each["data"]).reshape(each["shape"])
        if each["name"] != "labels":
            np.testing.assert_allclose(found, detecting.whole[each["name"]], atol=0.05)
