"""Tails that were seen at a server while a load waited cost no request."""

from typing import Any

import pytest

from edge_operator.effects.tails import TailLoader
from edge_operator.keys import ServiceKey
from edge_operator.pool.actions import LoadTails
from edge_operator.tritons.tail_models import Tail

World = Any  # tests/operator/conftest.py
HERE = "http://triton:8000"


def tail(name: str) -> Tail:
    return Tail(HERE, name, "onnxruntime", "sha256:1", (), (), 4, "ours")


def loads(*names: str, memory: int | None = None) -> LoadTails:
    return LoadTails(ServiceKey("default", "digits"), HERE, tuple(map(tail, names)), memory=memory)


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of the servers whose models were listed; they have none."""
    found = list[str]()

    def ready(address: str) -> frozenset[str]:
        found.append(address)
        return frozenset()

    monkeypatch.setattr(world.triton, "ready", ready)
    return found


def test_tails_that_were_all_seen_cost_no_request(world: World, asked: list[str]) -> None:
    loaded = TailLoader(world.clients, "ours", None).load(loads("a", "b"), lambda _: frozenset("abc"))
    assert (loaded.there, loaded.count, loaded.outcome.error) == (frozenset("ab"), 0, None)
    assert asked == []


@pytest.mark.parametrize(("wanted", "seen"), [(loads("a", "b"), "a"), (loads("a", memory=1 << 30), "a")])
def test_others_are_looked_for(world: World, asked: list[str], wanted: LoadTails, seen: str) -> None:
    TailLoader(world.clients, "ours", None).load(wanted, lambda _: frozenset(seen))
    assert set(asked) == {HERE}
