"""The mark of a tail has the term of the leader that loaded it, by which late requests are recognized."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import prometheus_client
import pytest

from edge_operator import terms
from edge_operator.effects.server_looks import ServerLooks
from edge_operator.errors import NotLeadingError, TritonUnreachableError
from edge_operator.leadership import DURATION, Leadership
from edge_operator.store import Blob
from edge_operator.terms import Term
from edge_operator.tritons.fenced_triton import FencedTriton
from edge_operator.tritons.tail_models import Tail, marked_term
from edge_operator.tritons.unused_tails import GRACE, UnusedTails
from messages import mentions

World = Any  # tests/operator/conftest.py
OWNER = "c0ffee000000"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Replicas:
    """Two replicas of the operator at one Triton server."""

    def __init__(self, world: World) -> None:
        self.world, self.clock = world, Clock()
        self.elections = {
            name: Leadership(world.cluster, "edge-intelligence", name, self.clock) for name in "ab"
        }
        self.tritons = {name: FencedTriton(world.triton, each) for name, each in self.elections.items()}

    def follow(self, name: str) -> None:
        """The replica leads after the one before was silent for the duration of the Lease."""
        self.elections[name].campaign()
        self.clock.now += DURATION
        assert self.elections[name].campaign()

    def term_of(self, tail: Tail) -> Term | None:
        return terms.read(marked_term(self.world.triton.parameters(tail.address, tail.name)))


@pytest.fixture
def replicas(world: World) -> Replicas:
    found = Replicas(world)
    found.follow("a")
    return found


@pytest.fixture
def tail(world: World) -> Tail:
    return Tail(
        world.triton.url, f"edge-{OWNER}-{'0' * 24}", "python", "sha256:" + "0" * 64, (), (), owner=OWNER
    )


def counted() -> float:
    return prometheus_client.REGISTRY.get_sample_value("edge_operator_late_tails_total") or 0.0


def opener() -> AbstractContextManager[Blob]:
    return nullcontext(Blob(0, []))


def test_a_tail_is_marked_with_the_term_of_the_leader_that_loads_it(replicas: Replicas, tail: Tail) -> None:
    replicas.tritons["a"].load(tail, opener)
    first = replicas.term_of(tail)
    replicas.follow("b")
    replicas.tritons["b"].load(tail, opener)
    second = replicas.term_of(tail)
    assert first is not None
    assert second is not None
    assert first.is_before(second)
    assert second == replicas.elections["b"].term


def test_a_deposed_leader_neither_loads_nor_unloads(replicas: Replicas, tail: Tail) -> None:
    replicas.tritons["a"].load(tail, opener)
    replicas.follow("b")
    with pytest.raises(NotLeadingError, match="not held by a"):
        replicas.tritons["a"].load(tail, opener)
    with pytest.raises(NotLeadingError, match="not held by a"):
        replicas.tritons["a"].unload(tail.address, tail.name)
    assert replicas.world.triton.ready(tail.address) == {tail.name}


def test_a_leader_that_does_not_know_that_it_is_deposed_keeps_what_a_later_one_loaded(
    replicas: Replicas, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it were stopped after its fence and before its request."""
    replicas.tritons["a"].load(tail, opener)
    replicas.follow("b")
    replicas.tritons["b"].load(tail, opener)
    monkeypatch.setattr(replicas.elections["a"], "check", lambda seconds: None)
    with pytest.raises(TritonUnreachableError, match=mentions("term 1", "term 0")):
        replicas.tritons["a"].unload(tail.address, tail.name)
    assert replicas.world.triton.ready(tail.address) == {tail.name}


def test_tails_of_earlier_versions_and_of_another_lease_can_be_unloaded(
    replicas: Replicas, tail: Tail
) -> None:
    for mark in ("", "another-lease:7"):
        replicas.world.triton.load(replace(tail, term=mark), opener)
        replicas.tritons["a"].unload(tail.address, tail.name)
        assert replicas.world.triton.ready(tail.address) == frozenset()


def test_a_load_that_ends_after_the_take_over_is_recognized_and_unloaded(
    world: World, replicas: Replicas, tail: Tail, caplog: pytest.LogCaptureFixture
) -> None:
    replicas.tritons["a"].load(replace(tail, name=f"edge-{OWNER}-{'1' * 24}"), opener)
    former = replicas.elections["a"].term
    replicas.follow("b")
    clients = replace(world.clients, triton=replicas.tritons["b"])
    looks = ServerLooks(clients, OWNER, None, lambda: replicas.elections["b"].term)
    before = counted()
    first = looks.look(tail.address, UnusedTails(), frozenset(), 0.0)
    world.triton.load(replace(tail, term=str(former)), opener)
    second = looks.look(tail.address, first.unused, frozenset(), 10.0)
    replicas.elections["b"].campaign()
    with caplog.at_level(logging.WARNING):
        looks.look(tail.address, second.unused, frozenset(), 10.0 + GRACE)
    assert world.triton.ready(tail.address) == frozenset()
    assert counted() == before + 1, "a tail that the first look found is not late"
    assert f"{tail.name} at {tail.address} was unloaded" in caplog.text


@pytest.mark.parametrize("text", ["", "7", ":7", "uid:", "uid:x"])
def test_a_mark_without_a_term_has_none(text: str) -> None:
    assert terms.read(text) is None


def test_a_term_that_is_written_is_read_again() -> None:
    assert terms.read(str(Term("4f0c:1", 12))) == Term("4f0c:1", 12)
