"""Tails are loaded only if they fit into the memory that the pool declares; local routes do not need it."""

import threading
from typing import Any

import pytest

from edge_operator.errors import TritonBusyError
from edge_operator.tritons.admission import OVERHEAD, Admission, admission, bytes_text, footprint
from edge_operator.tritons.admitted import Admitted
from edge_operator.tritons.tail_models import Tail, model_config
from edge_operator.tritons.unused_tails import GRACE
from messages import mentions

World = Any  # tests/operator/conftest.py
TAIL = footprint(1234, "python")


def _declare(world: World, memory: str | None) -> None:
    pool = world.pool()
    pool["spec"]["tritonServers"][0]["memory"] = memory
    world.cluster.put(pool)


def _runtimes(world: World) -> set[str]:
    return {
        stage["runtime"]
        for body in world.placements().values()
        for route in body["spec"]["routes"]
        for stage in route["stages"]
    }


def _leave(world: World, digit: str, size: int = 0) -> str:
    """Puts a model of this installation into Triton that no table uses."""
    tail = Tail(
        world.triton.url,
        f"edge-{world.settings.installation}-" + digit * 24,
        "python",
        "sha256:" + digit * 64,
        (),
        (),
        size,
        world.settings.installation,
    )
    found = model_config(tail)["parameters"]
    world.triton.marks[tail.name] = {key: value["string_value"] for key, value in found.items()}
    world.triton.models.add(tail.name)
    return tail.name


def test_the_smallest_tails_are_admitted_first_and_used_ones_count_once() -> None:
    assert admission(10, {"a": 6, "b": 3, "c": 2}, {"d": 5}, {}) == Admission((), ("a",), 0)
    assert admission(10, {"d": 5, "a": 5}, {"d": 5}, {}) == Admission((), (), 0)
    assert admission(4, {"d": 5}, {"d": 5}, {}) == Admission((), (), -1), "what is used stays"


def test_unused_models_go_only_as_far_as_room_is_needed() -> None:
    unused = {"x": 2, "y": 4, "z": 3}
    assert admission(20, {"a": 5}, {"b": 5}, unused).unloaded == ()
    assert admission(16, {"a": 5}, {"b": 5}, unused).unloaded == ("y",)
    assert admission(12, {"a": 5}, {"b": 5}, unused).unloaded == ("y", "z")
    assert admission(10, {"a": 5, "x": 2}, {"b": 3}, unused).unloaded == ("y", "z"), "x is wanted again"


@pytest.mark.parametrize(
    ("size", "down", "up"),
    [
        (0, "0", "0"),
        (1023, "1023", "1023"),
        (64 << 20, "64Mi", "64Mi"),
        ((1 << 30) + 1, "1Gi", "1.01Gi"),
        (1234 * 1024, "1.2Mi", "1.21Mi"),
    ],
)
def test_bytes_are_rounded_to_what_surely_fits(size: int, down: str, up: str) -> None:
    assert (bytes_text(size), bytes_text(size, up=True)) == (down, up)


def test_without_a_declared_memory_everything_is_loaded(world: World) -> None:
    world.settle()
    assert world.triton.models
    assert world.condition("Placed")["status"] == "True"


def test_tails_that_do_not_fit_leave_the_local_routes(world: World) -> None:
    _declare(world, "1Mi")
    world.settle()
    assert world.triton.models == set()
    assert _runtimes(world) == {"Edge"}
    placed = world.condition("Placed")
    assert (placed["status"], placed["reason"]) == ("False", "TritonFull")
    assert mentions("spec.tritonServers[0].memory", '"1Mi"', "cloud").search(placed["message"])
    assert world.condition("Ready")["status"] == "True", "requests are served"


def test_the_message_tells_what_is_loaded_needed_and_enough(world: World) -> None:
    world.settle()
    tails = len(world.triton.models)
    assert tails > 1
    world.cluster.objects = {key: it for key, it in world.cluster.objects.items() if key[0] != "Placement"}
    world.triton.models.clear()
    world.restart()
    _declare(world, str(TAIL))
    world.settle()
    assert len(world.triton.models) == 1
    message = world.condition("Placed")["message"]
    needed = (tails - 1) * TAIL
    assert mentions(
        "1 tail", f"need {bytes_text(needed, up=True)}", f"raise it to {bytes_text(tails * TAIL, up=True)}"
    ).search(message)
    _declare(world, str(tails * TAIL))
    world.settle()
    assert len(world.triton.models) == tails
    assert world.condition("Placed")["reason"] == "Published"


def test_an_unused_tail_goes_at_once_if_its_room_is_needed_and_else_after_the_grace_period(
    world: World,
) -> None:
    world.settle()
    tails = len(world.triton.models)
    for memory, kept in (("10Gi", True), (str(tails * TAIL), False)):
        world.triton.models.clear()
        world.restart()
        left = _leave(world, "1")
        _declare(world, memory)
        world.reconcile()
        assert (left in world.triton.models) is kept
        assert len(world.triton.models) == tails + kept
    assert GRACE > 0


def test_models_of_others_are_not_unloaded_for_room(world: World) -> None:
    world.triton.models |= {"resnet", "edge-another00000-" + "0" * 24}
    _declare(world, "1Mi")
    world.settle()
    assert world.triton.models == {"resnet", "edge-another00000-" + "0" * 24}


def test_a_new_model_replaces_a_former_one_that_takes_all_the_room(world: World) -> None:
    world.settle()
    before = set(world.triton.models)
    _declare(world, str(len(before) * TAIL))
    world.store.card = world.store.card.model_copy(update={"digest": "sha256:" + "cd" * 32})
    for name, profile in world.store.profiles.items():
        world.store.profiles[name] = profile.model_copy(update={"model": world.store.card.digest})
    world.change(model={"storageUri": "store://digits/digits.onnx", "digest": world.store.card.digest})
    for _ in range(4):
        world.settle()
    assert world.condition("Placed")["reason"] == "Published"


def test_two_services_do_not_take_the_same_room() -> None:
    admitted = Admitted(clock=lambda: now[0])
    now = [0.0]
    admitted.hold("triton:8000", {"a": 5})
    assert admitted.held("triton:8000") == {"a": 5}
    assert admitted.held("other:8000") == {}
    admitted.release("triton:8000", ["a"])
    assert admitted.held("triton:8000") == {}
    admitted.hold("triton:8000", {"b": 5})
    now[0] = 181.0
    assert admitted.held("triton:8000") == {}, "its service is gone"


def test_a_decision_about_a_server_waits_for_another_one_for_a_limited_time() -> None:
    admitted = Admitted()
    inside, leave = threading.Event(), threading.Event()

    def decide() -> None:
        with admitted.turn("triton:8000"):
            inside.set()
            assert leave.wait(20)

    thread = threading.Thread(target=decide)
    thread.start()
    assert inside.wait(20)
    with admitted.turn("other:8000"):
        pass
    with pytest.raises(TritonBusyError), admitted.turn("triton:8000"):
        pass
    leave.set()
    thread.join()


def test_the_overhead_is_as_the_api_says() -> None:
    assert OVERHEAD == {"python": 64 << 20, "onnxruntime": 16 << 20}
