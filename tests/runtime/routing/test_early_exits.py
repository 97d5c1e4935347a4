"""The exits along a local route, and where they branch off."""

from __future__ import annotations

from typing import Any

from edge_runtime.routing.early_exits import ExitPoint, exit_points

TRUNK = ("image", "conv1", "pool1", "conv2", "conv3")


def _exit(name: str, output: str, accuracy: float, cuts: tuple[str, ...]) -> dict[str, Any]:
    listed = [{"tensor": tensor, "bytes": 1} for tensor in cuts]
    return {"name": name, "output": output, "accuracy": accuracy, "cuts": listed}


CARD = {
    "exits": [
        _exit("exit1", "e1", 0.81, (*TRUNK[:3], "branch1")),
        _exit("exit2", "e2", 0.9, (*TRUNK[:4], "branch2")),
        _exit("final", "logits", 0.97, TRUNK),
    ]
}


def test_each_exit_branches_off_at_the_deepest_cut_that_it_shares_with_the_last() -> None:
    assert exit_points(CARD, "final", 0.0) == [
        ExitPoint("exit1", 0.81, "e1", "image", "pool1"),
        ExitPoint("exit2", 0.9, "e2", "pool1", "conv2"),
    ]


def test_an_exit_below_the_least_accuracy_is_not_a_step() -> None:
    assert [step.exit for step in exit_points(CARD, "final", 0.85)] == ["exit2"]
    assert exit_points(CARD, "final", 0.85)[0].start == "image"


def test_the_first_exit_has_none_before_it() -> None:
    assert exit_points(CARD, "exit1", 0.0) == []


def test_of_two_exits_at_one_cut_the_more_accurate_is_taken() -> None:
    twin = {**CARD["exits"][0], "name": "twin", "output": "t", "accuracy": 0.85}
    found = exit_points({"exits": [*CARD["exits"], twin]}, "final", 0.0)
    assert [step.exit for step in found] == ["twin", "exit2"]
