"""A slice that the model store does not provide holds up the entry nodes whose table needs it alone."""

from collections.abc import Callable
from typing import Any

import pytest

from edge_operator.errors import StoreError
from messages import mentions

World = Any  # tests/operator/conftest.py
FAILURE = StoreError("TooLarge", "slice: 3 GB is above the limit of 2 GB: raise --limit")


def ends_of(slice_: Any) -> tuple[str, str]:
    """The first tensor of a slice and the last."""
    return slice_.inputs[0].name, slice_.outputs[0].name


def refuses_slice(world: World, monkeypatch: pytest.MonkeyPatch, start: str, end: str) -> None:
    """The model store does not make the slice between two tensors."""
    make = world.store.slice

    def found(model: str, inputs: Any, outputs: Any, *codecs: Any) -> Any:
        if (start, end) == (inputs[0], outputs[0]):
            raise FAILURE
        return make(model, inputs, outputs, *codecs)

    monkeypatch.setattr(world.store, "slice", found)


def refuses_file(world: World, monkeypatch: pytest.MonkeyPatch, start: str, end: str) -> None:
    """The model store does not give the file of the tail between two tensors."""
    load = world.triton.load

    def loads(tail: Any, onnx: Any) -> None:
        if (start, end) == ends_of(tail):
            raise FAILURE
        load(tail, onnx)

    monkeypatch.setattr(world.triton, "load", loads)


def routes(world: World) -> dict[str, list[str]]:
    """The names of the published routes, by entry node."""
    return {node: [r["name"] for r in body["spec"]["routes"]] for node, body in world.placements().items()}


def verdict(world: World, kind: str) -> tuple[str, str]:
    found = world.condition(kind)
    return found["status"], found["reason"]


Refusal = Callable[[World, pytest.MonkeyPatch, str, str], None]


# Of the tables in mode PartitionOnly, those of the cameras alone are cut at pool2.
@pytest.mark.parametrize(
    ("refuses", "start", "end"),
    [
        (refuses_slice, "image", "pool2"),
        (refuses_slice, "pool2", "logits"),
        (refuses_file, "pool2", "logits"),
    ],
)
def test_the_entry_nodes_that_need_the_slice_keep_their_tables_and_the_others_get_theirs(
    world: World, monkeypatch: pytest.MonkeyPatch, refuses: Refusal, start: str, end: str
) -> None:
    world.change(mode="LocalOnly")
    world.settle()
    before = world.placements()
    world.change(mode="PartitionOnly")
    with monkeypatch.context() as refused:
        refuses(world, refused, start, end)
        world.settle()
        assert routes(world)["gate"] == ["final@image", "final@pool1", "final@local"]
        for node in ("cam-1", "cam-2"):
            assert (
                world.placements()[node]["metadata"]["generation"] == before[node]["metadata"]["generation"]
            )
        placed = world.condition("Placed")
        assert (placed["status"], placed["reason"]) == ("False", "TooLarge")
        assert mentions(
            f"slice from {start} to {end} of exit final",
            str(FAILURE),
            "no new routes at cam-1, cam-2 until then",
        ).search(placed["message"])
        assert placed["message"].endswith("routes are published at gate")
        assert verdict(world, "Ready") == ("True", "Serving")
        assert verdict(world, "Degraded") == ("True", "TooLarge")
        entries = {each["node"]: each["reason"] for each in world.service()["status"]["entries"]}
        assert mentions(str(FAILURE), "published routes keep serving", "LocalOnly").search(entries["cam-1"])
        assert str(FAILURE) not in entries["gate"]
    world.settle()
    assert verdict(world, "Placed") == ("True", "Published")
    assert routes(world)["cam-1"] == routes(world)["cam-2"]
    assert "final@pool2" in routes(world)["cam-1"]


@pytest.mark.parametrize("refuses", [refuses_slice, refuses_file])
def test_a_new_entry_node_has_local_routes_without_the_slice_until_then(
    world: World, monkeypatch: pytest.MonkeyPatch, refuses: Refusal
) -> None:
    world.change(mode="PartitionOnly")
    with monkeypatch.context() as refused:
        refuses(world, refused, "pool2", "logits")
        world.settle()
        assert routes(world) == {
            "cam-1": ["final@local"],
            "cam-2": ["final@local"],
            "gate": ["final@image", "final@pool1", "final@local"],
        }
        assert verdict(world, "Placed") == ("False", "TooLarge")
    world.settle()
    assert "final@pool2" in routes(world)["cam-1"]
    assert verdict(world, "Degraded") == ("False", "Serving")


def test_a_local_route_whose_slice_is_refused_is_not_published(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.change(mode="RightSizingOnly")
    refuses_slice(world, monkeypatch, "image", "logits")
    world.settle()
    assert routes(world) == {"cam-1": ["exit1@local"], "cam-2": ["exit1@local"], "gate": ["exit1@local"]}
    assert world.condition("Placed")["message"].count("no new routes at gate until then") == 1


def test_a_slice_that_every_table_needs_blocks_the_service(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.change(mode="LocalOnly")
    refuses_slice(world, monkeypatch, "image", "logits")
    world.reconcile()
    assert world.placements() == {}
    assert verdict(world, "Placed") == ("False", "TooLarge")
    assert verdict(world, "Ready") == ("False", "TooLarge")
    assert "no new routes at cam-1, cam-2, gate" in world.condition("Placed")["message"]


@pytest.mark.parametrize("start", ["image", "pool1", "pool2"])
def test_a_tail_whose_file_is_refused_holds_up_no_other_tail(
    world: World, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    world.change(mode="PartitionOnly")
    refuses_file(world, monkeypatch, start, "logits")
    world.settle()
    loaded = {mark["slice"] for mark in world.triton.marks.values()}
    assert len(loaded) == 2


def test_a_store_that_does_not_respond_is_not_called_for_each_tail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = list[str]()

    def loads(tail: Any, onnx: Any) -> None:
        called.append(tail.name)
        raise StoreError("Unreachable", "model store: no response")

    monkeypatch.setattr(world.triton, "load", loads)
    world.change(mode="PartitionOnly")
    world.plan()
    assert len(called) == 1
    assert verdict(world, "Placed") == ("False", "Unreachable")
