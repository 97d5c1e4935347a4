"""One replica of the operator writes at a time: the holder of a Lease that outlasts each write."""

import asyncio
import contextlib
import copy
import datetime
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_operator.cluster import WRITE, Kind, Object
from edge_operator.errors import (
    ApiUnreachableError,
    NotLeadingError,
    WriteConflictError,
)
from edge_operator.leadership import DURATION, Leadership
from edge_operator.store import Blob
from edge_operator.tritons.fenced_triton import FencedTriton
from edge_operator.tritons.tail_models import Tail

World = Any  # tests/operator/conftest.py
WALL = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)


@dataclass
class Leases:
    """The Lease as an API server has it. away: requests fail."""

    lease: Object | None = None
    version: int = 0
    away: bool = False
    requests: list[str] = field(default_factory=list)

    def fetch(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        self._request("read")
        return copy.deepcopy(self.lease)

    def create(self, body: Object) -> Object:
        self._request("create")
        if self.lease is not None:
            raise WriteConflictError("it exists")
        return self._stored(body)

    def replace(self, body: Object) -> Object:
        self._request("replace")
        if (
            self.lease is None
            or body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]
        ):
            raise WriteConflictError("it has been modified")
        return self._stored(body)

    def _stored(self, body: Object) -> Object:
        self.version += 1
        self.lease = copy.deepcopy(body) | {
            "metadata": body["metadata"] | {"resourceVersion": str(self.version)}
        }
        return copy.deepcopy(self.lease)

    def _request(self, what: str) -> None:
        if self.away:
            raise ApiUnreachableError("no response from the API server")
        self.requests.append(what)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def replica(leases: Leases, name: str, clock: Clock, skew: float = 0.0) -> Leadership:
    """skew: how far the replica's wall clock is off, in seconds."""
    return Leadership(
        leases,
        "edge-intelligence",
        name,
        clock,
        lambda: WALL + datetime.timedelta(seconds=clock.now + skew),
    )


def test_the_first_replica_leads_and_the_second_waits() -> None:
    leases, clock = Leases(), Clock()
    first, second = replica(leases, "a", clock), replica(leases, "b", clock)
    assert first.campaign()
    assert not second.campaign()
    first.check()
    with pytest.raises(NotLeadingError, match="edge-intelligence/edge-operator"):
        second.check()
    assert leases.lease is not None
    assert leases.lease["spec"]["holderIdentity"] == "a"
    assert leases.lease["spec"]["leaseDurationSeconds"] == DURATION


def test_a_write_begins_only_if_the_lease_outlasts_it() -> None:
    leases, clock = Leases(), Clock()
    leader = replica(leases, "a", clock)
    leader.campaign()
    clock.now += DURATION - WRITE - 0.1
    leader.check()
    clock.now += 0.2
    assert leader.leads
    with pytest.raises(NotLeadingError):
        leader.check()


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_a_silent_leader_is_followed_after_the_duration_whatever_the_wall_clocks_say(skew: float) -> None:
    leases, clock = Leases(), Clock()
    silent, other = replica(leases, "a", clock), replica(leases, "b", clock, skew)
    silent.campaign()
    assert not other.campaign()
    clock.now += DURATION - 0.1
    assert not other.campaign()
    clock.now += 0.2
    assert other.campaign()
    assert not silent.leads
    assert leases.lease is not None
    assert leases.lease["spec"]["leaseTransitions"] == 1


def test_a_leader_that_renews_is_not_followed() -> None:
    leases, clock = Leases(), Clock()
    leader, other = replica(leases, "a", clock), replica(leases, "b", clock)
    for _ in range(20):
        assert leader.campaign()
        assert not other.campaign()
        clock.now += DURATION / 2


def test_a_released_lease_is_taken_at_once() -> None:
    leases, clock = Leases(), Clock()
    leader, other = replica(leases, "a", clock), replica(leases, "b", clock)
    leader.campaign()
    assert leader.resign()
    with pytest.raises(NotLeadingError):
        leader.check()
    leader.release()
    assert other.campaign()


def test_a_replica_that_was_followed_does_not_release_the_lease_of_its_successor() -> None:
    leases, clock = Leases(), Clock()
    leader, other = replica(leases, "a", clock), replica(leases, "b", clock)
    leader.campaign()
    other.campaign()
    clock.now += DURATION + 1
    assert other.campaign()
    assert not leader.resign()
    leader.release()
    assert leases.lease is not None
    assert leases.lease["spec"]["holderIdentity"] == "b"


def test_of_two_that_take_a_free_lease_at_once_one_leads() -> None:
    leases, clock = Leases(), Clock()
    first, second = replica(leases, "a", clock), replica(leases, "b", clock)
    first.campaign()
    first.release()
    seen_by_both = copy.deepcopy(leases.lease)
    assert second.campaign()
    leases.fetch = lambda kind, namespace, name: seen_by_both  # type: ignore[method-assign]
    assert not first.campaign()


def test_a_leader_that_loses_the_api_server_stops_writing_and_ends() -> None:
    leases, clock = Leases(), Clock()
    leader, calls = replica(leases, "a", clock), list[str]()

    async def elections() -> None:
        gained = asyncio.Event()
        task = asyncio.create_task(leader.run(gained.set, lambda: calls.append("lost")))
        await gained.wait()
        leases.away = True
        clock.now += DURATION
        await task

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge_operator.leadership.RENEW", 0.0)
        asyncio.run(elections())
    assert calls == ["lost"]
    with pytest.raises(NotLeadingError):
        leader.check()


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0, 20), st.booleans()), min_size=1, max_size=60
    )
)
def test_two_replicas_never_may_write_at_once(steps: list[tuple[str, float, bool]]) -> None:
    leases, clock = Leases(), Clock()
    replicas = {name: replica(leases, name, clock) for name in "abc"}
    for name, passed, away in steps:
        clock.now += passed
        leases.away = away
        with contextlib.suppress(ApiUnreachableError):
            replicas[name].campaign()
        writing = [name for name, each in replicas.items() if each.leads]
        assert len(writing) <= 1


def test_a_renewal_on_its_way_while_a_replica_resigns_lets_no_further_write_begin() -> None:
    leases, clock = Leases(), Clock()
    first = replica(leases, "a", clock)
    assert first.campaign()
    replaced = leases.replace

    def resigning(body: Object) -> Object:
        first.resign()
        return replaced(body)

    leases.replace = resigning  # type: ignore[method-assign]
    assert not first.campaign()
    assert not first.leads
    with pytest.raises(NotLeadingError):
        first.check()
    first.release()
    assert replica(leases, "b", clock).campaign()


def test_a_replica_that_does_not_lead_neither_loads_nor_unloads_models(world: World) -> None:
    leadership = Leadership(world.cluster, "edge-intelligence", "a")
    triton = FencedTriton(world.triton, leadership)
    tail = Tail(world.triton.url, "edge-tail", "python", "sha256:" + "0" * 64, (), ())

    def opener() -> AbstractContextManager[Blob]:
        return nullcontext(Blob(0, []))

    with pytest.raises(NotLeadingError, match="edge-operator"):
        triton.load(tail, opener)
    with pytest.raises(NotLeadingError, match="edge-operator"):
        triton.unload(tail.address, tail.name)
    assert world.log == []
    leadership.campaign()
    triton.load(tail, opener)
    assert triton.ready(tail.address) == {tail.name}
    triton.unload(tail.address, tail.name)
    assert world.triton.models == set()
