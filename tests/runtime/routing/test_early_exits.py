"""The exits along a local route, and where they branch off."""

from __future__ import annotations

import pytest

from edge_runtime.routing.early_exits import ExitPoint, exit_points
from edge_runtime.routing.model_exits import ModelExit, model_exits

TRUNK = ("image", "conv1", "pool1", "conv2", "conv3")
Cuts = tuple[tuple[str, ...], ...]


def _exit(name: str, accuracy: float, cuts: Cuts, *outputs: str) -> ModelExit:
    return ModelExit(name, accuracy, outputs, False, cuts)


def _single(*tensors: str) -> Cuts:
    return tuple((tensor,) for tensor in tensors)


EXIT1 = _exit("exit1", 0.81, _single(*TRUNK[:3], "branch1"), "e1")
EXIT2 = _exit("exit2", 0.9, _single(*TRUNK[:4], "branch2"), "e2")
FINAL = _exit("final", 0.97, _single(*TRUNK), "logits")
EXITS = [EXIT1, EXIT2, FINAL]


def test_each_exit_branches_off_at_the_deepest_cut_that_it_shares_with_the_last() -> None:
    assert exit_points(EXITS, "final", 0.0) == [
        ExitPoint(EXIT1, ("image",), ("pool1",), ("pool1",)),
        ExitPoint(EXIT2, ("pool1",), ("conv2",), ("conv2",)),
    ]


def test_an_exit_below_the_least_accuracy_is_not_a_step() -> None:
    (point,) = exit_points(EXITS, "final", 0.85)
    assert (point.exit, point.start) == (EXIT2, ("image",))


def test_the_first_exit_has_none_before_it() -> None:
    assert exit_points(EXITS, "exit1", 0.0) == []


def test_of_two_exits_at_one_cut_the_more_accurate_is_taken() -> None:
    twin = _exit("twin", 0.85, EXIT1.cuts, "t")
    found = exit_points([*EXITS, twin], "final", 0.0)
    assert [step.exit.name for step in found] == ["twin", "exit2"]


def test_inputs_that_bypass_the_trunk_pass_its_branch_points() -> None:
    """The state is needed behind the second branch point only, the rate at the first exit only."""
    inputs = ("x", "rate", "state")
    first = _exit("first", 0.8, (("x", "rate"), ("h1", "rate")), "e1", "boxes1")
    last = _exit("last", 0.9, (("x", "state"), ("h1", "state"), ("h2", "state"), ("h3",)), "e2")
    assert exit_points([first, last], "last", 0.0) == [
        ExitPoint(first, ("x", "state"), ("h1", "state"), ("h1", "rate"))
    ]
    between = _exit("between", 0.85, (inputs, ("h2", "rate", "state")), "m")
    assert exit_points([between, last], "last", 0.0) == [
        ExitPoint(between, ("x", "state"), ("h2", "state"), ("h2", "rate", "state"))
    ]


def test_a_cut_of_several_computed_tensors_cannot_be_a_branch_point() -> None:
    wide = (("x",), ("left", "right"))
    early, last = _exit("early", 0.8, wide, "e"), _exit("last", 0.9, (*wide, ("joined",)), "y")
    assert exit_points([early, last], "last", 0.0) == []


CUTS = (("x",), ("a", "b"))


@pytest.mark.parametrize(
    ("entry", "described"),
    [
        (
            {"outputs": ["y", "z"], "accuracy": None, "responseNames": "Own"},
            ModelExit("final", 1.0, ("y", "z"), True, CUTS),
        ),
        (
            {"outputs": ["y"], "accuracy": 0.9, "responseNames": "Final"},
            ModelExit("final", 0.9, ("y",), False, CUTS),
        ),
        ({"output": "y", "accuracy": 0.9}, ModelExit("final", 0.9, ("y",), False, CUTS)),
    ],
)
def test_metadata_of_this_and_earlier_stores_is_read(entry: dict[str, object], described: ModelExit) -> None:
    cuts = [{"tensor": "x", "bytes": 1}, {"tensor": "a+b", "tensors": ["a", "b"], "bytes": 2}]
    assert model_exits({"exits": [entry | {"name": "final", "cuts": cuts}]}) == [described]
