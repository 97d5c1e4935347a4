"""A loaded model counts as a tail only if its configuration has the installation's mark and the digest."""

from typing import Any

import pytest

World = Any  # tests/operator/conftest.py
OTHER = "sha256:" + "e" * 64


def _first(world: World) -> str:
    return str(min(world.triton.models))


def test_a_restart_uses_tails_whose_content_is_right(world: World) -> None:
    world.settle()
    world.restart()
    world.log.clear()
    world.reconcile()
    assert not [line for line in world.log if line.startswith("load")]


def test_a_tail_with_other_content_is_replaced_before_a_table_uses_it(world: World) -> None:
    world.settle()
    name = _first(world)
    right = dict(world.triton.marks[name])
    world.triton.marks[name] = right | {"slice": OTHER}
    world.restart()
    world.log.clear()
    world.reconcile()
    assert [line for line in world.log if line.startswith("load")] == [f"load {name}"]
    assert world.triton.marks[name] == right


@pytest.mark.parametrize("marks", [{}, {"slice": OTHER}, {"owner": "another", "slice": OTHER}])
def test_a_model_of_another_with_a_tails_name_is_neither_used_nor_replaced(
    world: World, marks: dict[str, str]
) -> None:
    world.settle()
    name = _first(world)
    world.triton.marks[name] = marks
    world.restart()
    world.log.clear()
    world.reconcile()
    placed = world.condition("Placed")
    assert (placed["status"], placed["reason"]) == ("False", "TailRefused")
    assert name in placed["message"]
    assert not [line for line in world.log if line.startswith("load")]
    assert world.triton.marks[name] == marks
