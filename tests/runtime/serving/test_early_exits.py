"""Confident inputs leave early at the node itself; the others get the same result as without early exits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edge_planning.routing.latency_stats import LatencyStats
from edge_runtime.routing.early_exits import run_until_confident
from edge_runtime.routing.loaded_tables import BranchedRoute, BranchPoint
from edge_runtime.routing.response_outputs import ResponseOutputs
from edge_runtime.tensors import Tensor

Stack = Any
SURE, UNSURE = np.array([[9.0, 0.0]], np.float32), np.array([[0.1, 0.0]], np.float32)
IMAGE = np.zeros((1, 4), np.float32)


@pytest.fixture
def images() -> Any:
    return np.random.default_rng(4).normal(size=(40, 1, 16, 16)).astype(np.float32) * 3


def test_inputs_leave_by_confidence_and_every_response_is_that_of_its_exit(
    stack: Stack, images: Any, chain_model: bytes
) -> None:
    wish = {"earlyExit": {"mode": "Confidence", "threshold": 0.8}}
    stack.start(stack.placement(stack.local("final"), latency="2s", link=None, **wish))
    stack.wait(lambda: "exit1" in _ask(stack, images[:1], 40), within=20)
    whole = ort.InferenceSession(chain_model, providers=["CPUExecutionProvider"])
    outputs = {"exit1": "exit1_logits", "exit2": "exit2_logits", "final": "logits"}
    left = dict.fromkeys(outputs, 0)
    for image in images:
        answer = stack.infer(image[None])
        said = answer["parameters"]
        assert said["exit"] == "final" or said["confidence"] >= 0.8
        (expected,) = whole.run([outputs[said["exit"]]], {"image": image[None]})
        np.testing.assert_allclose(answer["outputs"][0]["data"], expected.ravel(), rtol=1e-4, atol=1e-5)
        left[said["exit"]] += 1
    assert left["exit1"] >= 3
    assert left["final"] >= 3


def _ask(stack: Stack, image: Any, times: int) -> set[str]:
    return {stack.infer(image * (1 + i))["parameters"]["exit"] for i in range(times)}


async def test_a_sure_input_leaves_at_the_first_exit_that_is_sure() -> None:
    runs: list[str] = []
    (output,), by = await run_until_confident(
        _branched(), {"image": IMAGE}, 0.9, _runner(runs, e1=UNSURE, e2=SURE), lambda: 9.0
    )
    assert runs == ["trunk1", "e1", "trunk2", "e2"]
    assert (by.route.name, output[0, 0]) == ("e2", 9.0)


async def test_an_input_of_which_no_exit_is_sure_goes_all_the_way() -> None:
    runs: list[str] = []
    _, by = await run_until_confident(
        _branched(), {"image": IMAGE}, 0.9, _runner(runs, e1=UNSURE, e2=UNSURE), lambda: 9.0
    )
    assert (runs, by.route.name) == (["trunk1", "e1", "trunk2", "e2", "rest"], "rest")


async def test_a_branch_is_left_out_when_the_rest_would_be_late_for_it() -> None:
    # 35 ms remain. The first branch needs 10 and the rest 30: skipped. The second 10 and 20: evaluated.
    runs: list[str] = []
    branched = _branched(seconds=0.01, rest=0.02)
    await run_until_confident(branched, {"image": IMAGE}, 0.9, _runner(runs, e1=SURE, e2=SURE), lambda: 0.035)
    assert runs == ["trunk1", "trunk2", "e2"]


def _branched(seconds: float = 0.0, rest: float = 0.0) -> BranchedRoute:
    def part(name: str, most: float) -> Any:
        session = SimpleNamespace(outputs=[SimpleNamespace(name=f"{name}.out")])
        outputs = ResponseOutputs([Tensor(f"{name}.out", "FP32", (-1, 10))], [0])
        return SimpleNamespace(
            route=SimpleNamespace(name=name),
            session=session,
            stats=LatencyStats(most / 1.3),
            outputs=outputs,
        )

    points = tuple(BranchPoint(part(f"trunk{i}", seconds), part(f"e{i}", seconds)) for i in (1, 2))
    return BranchedRoute(points, part("rest", rest))


def _runner(runs: list[str], **answers: Any) -> Any:
    async def run(loaded: Any, known: Any) -> list[Any]:
        runs.append(loaded.route.name)
        assert "image" in known
        return [answers.get(loaded.route.name, UNSURE)]

    return run
