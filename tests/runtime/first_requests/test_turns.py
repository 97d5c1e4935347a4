"""When a runtime keeps the inputs of first requests, measures on them, and what it reports."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from edge_runtime.assignment import Spec, parse_placement
from edge_runtime.errors import CannotLoad, EdgeError, InputsRefused
from edge_runtime.first_requests.turns import FirstRequests
from edge_runtime.tensors import Tensor
from placed import eventually, placement

INPUTS = (Tensor("x", "FP32", (-1, 4)),)
ITEM = {"x": np.ones((1, 4), np.float32)}
TIMES = {"meanSeconds": 0.02, "p95Seconds": 0.03, "runs": 9}


def spec(turn: str | None, digit: str = "1") -> Spec:
    more: dict[str, Any] = {} if turn is None else {"firstRequests": turn}
    return parse_placement(placement("adder", digest(digit), **more)).spec


def digest(digit: str) -> str:
    return f"sha256:{digit * 64}"


class Scripted:
    """Ends with the given outcomes, in order."""

    def __init__(self, *outcomes: EdgeError | None) -> None:
        self._outcomes, self.asked = list(outcomes), list[Mapping[str, tuple[int, ...]]]()

    async def measure(self, model: str, shapes: Mapping[str, tuple[int, ...]], samples: bytes) -> Any:
        self.asked.append(shapes)
        outcome = self._outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return {
            "model": model,
            "threads": 1,
            "executionProvider": "CPU",
            "segments": [{"from": "x", "to": "y", **TIMES}],
            "exits": [{"exit": "final", "output": "y", **TIMES}],
            "shapes": [],
            "relativeError": 0.1,
        }


class Turns:
    """First requests with what they told."""

    def __init__(self, *outcomes: EdgeError | None) -> None:
        self.told = 0
        self.measurer = Scripted(*outcomes)
        self.requests = FirstRequests(self._tell, jitter=lambda: 0.5)

    def _tell(self) -> None:
        self.told += 1

    def report(self) -> dict[str, Any]:
        return self.requests.report() or {}

    async def until(self, **fields: Any) -> None:
        """Runs until the report has these fields."""
        running = asyncio.create_task(self.requests.run(self.measurer))
        try:
            await eventually(lambda: fields.items() <= self.report().items())
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def test_nothing_is_kept_without_a_turn_in_the_placement() -> None:
    turns = Turns()
    turns.requests.use(spec(None))
    turns.requests.add(spec(None), INPUTS, ITEM)
    assert (turns.requests.report(), turns.told) == (None, 0)


def test_the_first_input_that_is_kept_is_reported_at_once() -> None:
    turns = Turns()
    turns.requests.use(spec("Keep"))
    for _ in range(3):
        turns.requests.add(spec("Keep"), INPUTS, ITEM)
    assert (turns.report()["kept"], turns.told) == (3, 1)


async def test_times_are_reported_and_the_inputs_are_forgotten() -> None:
    turns = Turns(None)
    turns.requests.use(spec("Measure"))
    turns.requests.add(spec("Measure"), INPUTS, ITEM)
    await turns.until(kept=0)
    profile = turns.report()["profile"]
    assert profile["model"] == digest("1")
    assert profile["segments"] == [{"from": "x", "to": "y", "mean": "20ms", "p95": "30ms", "runs": 9}]
    assert profile["exits"][0]["output"] == "y"
    assert turns.measurer.asked == [{"x": (1, 4)}]


async def test_a_failed_attempt_is_reported_and_keeps_the_inputs() -> None:
    turns = Turns(CannotLoad("not enough memory"), None)
    turns.requests.use(spec("Measure"))
    turns.requests.add(spec("Measure"), INPUTS, ITEM)
    await turns.until(attempts=1, message="not enough memory", kept=1)
    await turns.until(attempts=1, kept=0)
    assert "profile" in turns.report()


async def test_inputs_that_the_model_refuses_are_replaced_by_later_ones() -> None:
    turns = Turns(InputsRefused("the model refuses the given inputs"))
    turns.requests.use(spec("Measure"))
    turns.requests.add(spec("Measure"), INPUTS, ITEM)
    await turns.until(attempts=1, kept=0)
    turns.requests.add(spec("Measure"), INPUTS, ITEM)
    assert turns.report()["kept"] == 1


@pytest.mark.parametrize("after", [spec(None), spec("Keep", "2")])
def test_inputs_are_forgotten_once_nothing_needs_them(after: Spec) -> None:
    turns = Turns()
    turns.requests.use(spec("Keep"))
    turns.requests.add(spec("Keep"), INPUTS, ITEM)
    turns.requests.use(after)
    turns.requests.use(spec("Keep", "2"))
    assert turns.report()["kept"] == 0


def test_a_request_to_an_earlier_model_is_not_kept() -> None:
    turns = Turns()
    turns.requests.use(spec("Keep", "2"))
    turns.requests.add(spec("Keep", "1"), INPUTS, ITEM)
    assert turns.report()["kept"] == 0


async def test_a_model_with_more_segments_than_a_status_holds_is_not_reported() -> None:
    turns = Turns(None)
    turns.measurer.measure = _many  # type: ignore[method-assign]
    turns.requests.use(spec("Measure"))
    turns.requests.add(spec("Measure"), INPUTS, ITEM)
    await turns.until(attempts=1)
    assert "4097" in turns.report()["message"]
    assert "spec.model.samples" in turns.report()["message"]


async def _many(model: str, shapes: Mapping[str, tuple[int, ...]], samples: bytes) -> Any:
    return {"segments": [{}] * 4097}
