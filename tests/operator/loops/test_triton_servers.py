"""A loop for each Triton server starts with its first pool, ends with its last tail, waits for no other."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import pytest

from edge_operator import clients
from edge_operator.cluster import DEVICE_POOLS
from edge_operator.effects.server_looks import Look
from edge_operator.keys import TailKey
from edge_operator.leadership import Leadership
from edge_operator.loops.operator import Operator
from edge_operator.loops.triton_servers import TritonServerLoops
from edge_operator.observed.mirror import Mirror
from edge_operator.observed.tails_in_use import TailsInUse
from edge_operator.tritons import look_intervals
from edge_operator.tritons.control_keys import ControlKeys
from edge_operator.tritons.former_servers import KEPT
from edge_operator.tritons.look_intervals import LONGEST, SHORTEST, first_look, next_look, retry
from edge_operator.tritons.unused_tails import UnusedTails

World = Any  # tests/operator/conftest.py
OWNER = "c0ffee000000"
TAIL = f"edge-{OWNER}-{'0' * 24}"
ONE, TWO = "http://one:8000", "http://two:8000"


class Servers:
    """Looks at servers: what each has, and those that hang until they are let go."""

    owner = OWNER

    def __init__(self) -> None:
        self.models: dict[str, frozenset[str] | None] = {}
        self.hung, self.go = set[str](), threading.Event()
        self.looks = Counter[str]()

    def look(
        self,
        address: str,
        before: UnusedTails,
        used: frozenset[str],
        now: float,
        *,
        control: Collection[str] = (),
    ) -> Look:
        self.looks[address] += 1
        if address in self.hung:
            assert self.go.wait(30)
        return Look(self.models.get(address, frozenset()), before)


class Running:
    """The loops of a replica that leads, with its event loop's clock, which a test can put forward."""

    def __init__(self, world: World) -> None:
        self.servers, self.ahead = Servers(), 0.0
        now = asyncio.get_running_loop().time
        self.pools: list[str] = []
        self.loops = TritonServerLoops(
            self.servers,
            ControlKeys(world.cluster, "edge-intelligence"),
            lambda: now() + self.ahead,
            lambda _: frozenset(),
            lambda _: None,
            self.pools.append,
            jitter=lambda: 0.0,
        )

    def name(self, pool: str, *addresses: str, former: tuple[str, ...] = ()) -> None:
        """A pool is created or changed."""
        listed = [
            {"name": url, "scheme": url.partition("://")[0].upper(), "httpAddress": url.partition("://")[2]}
            for url in addresses
        ]
        left = [{"address": url, "left": "2026-03-01T12:00:00Z"} for url in former]
        body = {"metadata": {"name": pool}, "spec": {"tritonServers": listed}}
        self.loops.note(body | {"status": {"formerTritonServers": left}})

    @property
    def addresses(self) -> set[str]:
        return set(self.loops.running)

    async def looked(self, address: str, times: int = 2) -> None:
        """Waits for looks that begin from now on, of which all but the last have been noted."""
        wanted = self.servers.looks[address] + times
        await self.until(lambda: self.servers.looks[address] >= wanted)

    async def ended(self, address: str) -> None:
        await self.until(lambda: address not in self.addresses)

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not met():
                assert not any(task.done() for task in self.loops.running.values())
                await asyncio.sleep(0.001)


@pytest.fixture
async def running(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(look_intervals, "SHORTEST", 0.005)
    monkeypatch.setattr(look_intervals, "FIRST_RETRY", 0.005)
    found = Running(world)
    found.loops.start()
    yield found
    found.servers.go.set()
    found.loops.stop()
    await asyncio.to_thread(found.loops.wait)


async def test_an_address_that_two_pools_name_has_one_loop_until_both_have_dropped_it(
    running: Running,
) -> None:
    running.name("factory", ONE, TWO)
    running.name("shop", ONE)
    assert running.addresses == {ONE, TWO}
    before = running.loops.running[ONE]
    running.name("factory", TWO)
    await running.looked(ONE)
    assert running.addresses == {ONE, TWO}
    assert running.loops.running[ONE] is before
    running.loops.forget("shop")
    await running.ended(ONE)
    assert running.addresses == {TWO}


async def test_a_server_that_left_its_pool_is_looked_at_until_its_tails_are_gone(running: Running) -> None:
    running.servers.models[ONE] = frozenset({TAIL})
    running.name("factory", ONE)
    await running.looked(ONE)
    running.loops.forget("factory")
    await running.looked(ONE)
    running.servers.models[ONE] = frozenset({"resnet"})
    await running.ended(ONE)
    assert running.loops.findings.emptied == set()
    assert ONE not in running.loops.findings.availability.since


async def test_a_former_server_is_looked_at_until_the_status_of_its_pool_forgets_it(running: Running) -> None:
    running.servers.models[ONE] = frozenset({TAIL})
    running.name("factory", former=(ONE,))
    await running.looked(ONE)
    assert running.pools == []
    running.servers.models[ONE] = frozenset()
    await running.looked(ONE)
    assert running.pools == ["factory"], "its status is to be written, once"
    assert running.loops.findings.emptied == {ONE}
    assert running.addresses == {ONE}
    running.name("factory")
    assert running.addresses == set()


async def test_a_server_that_no_pool_names_and_that_never_responds_is_left_after_a_week(
    running: Running,
) -> None:
    running.servers.models[ONE] = None
    running.name("factory", ONE)
    running.loops.forget("factory")
    running.ahead = KEPT.total_seconds() - 60
    await running.looked(ONE)
    assert running.addresses == {ONE}
    running.ahead += 60
    await running.ended(ONE)


async def test_a_server_that_is_listed_with_tls_now_has_one_loop_by_its_new_address(running: Running) -> None:
    running.servers.models[ONE] = frozenset({TAIL})
    running.name("factory", ONE)
    await running.looked(ONE)
    running.name("factory", "https://one:8000", former=(ONE,))
    assert running.addresses == {"https://one:8000"}


async def test_a_server_that_hangs_holds_up_no_other(running: Running) -> None:
    running.servers.hung = {f"http://hung-{i}:8000" for i in range(40)}
    running.name("factory", ONE, *running.servers.hung)
    await running.until(lambda: all(running.servers.looks[address] for address in running.servers.hung))
    await running.looked(ONE, times=5)
    assert {running.servers.looks[address] for address in running.servers.hung} == {1}


class Hanging:
    """Two Triton servers, of which one accepts requests and does not respond until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def ready(self, address: str) -> frozenset[str]:
        if address == ONE:
            assert self.go.wait(30)
        return frozenset({"resnet"})

    def control_open(self, address: str) -> bool:
        return True


async def test_a_hung_server_is_unknown_while_the_other_one_is_checked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_intervals, "SHORTEST", 0.005)
    monkeypatch.setattr(clients, "PATIENCE_OF_LOOKS", 0.01)
    triton = Hanging()
    connected = clients.connected(world.cluster, world.store, triton)  # type: ignore[arg-type]
    leadership = Leadership(world.cluster, "edge-intelligence", "a")
    operator = Operator(connected, world.settings, None, world.cluster, Mirror(), leadership)
    listed = [{"name": url, "httpAddress": url.partition("://")[2]} for url in (ONE, TWO)]
    meta = {"name": "factory", "uid": "1", "generation": 1}
    pool = {"metadata": meta, "spec": {"tritonServers": listed}}
    operator.event(DEVICE_POOLS, None, pool)
    operator.lead()
    known = operator.tritons.findings
    try:
        async with asyncio.timeout(30):
            while TWO not in known.control_open:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.001)
        assert known.availability.since.keys() == {TWO}
        triton.go.set()
        async with asyncio.timeout(30):
            while ONE not in known.control_open:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.001)
        assert not operator.ended
        operator.event(DEVICE_POOLS, "DELETED", pool)
        async with asyncio.timeout(30):
            while operator.tritons.running:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.001)
    finally:
        triton.go.set()
        await operator.stop()


async def test_a_look_that_fails_for_an_unknown_cause_is_repeated(running: Running) -> None:
    def defect(address: str) -> None:
        raise RuntimeError(address)

    found = running.servers.models
    running.servers.models = {}
    running.servers.hung = {ONE}
    running.servers.go.wait = defect  # type: ignore[method-assign, assignment]
    running.name("factory", ONE)
    await running.looked(ONE)
    running.servers.hung, running.servers.models = set(), found
    await running.looked(ONE)
    assert running.loops.findings.availability.since[ONE][0]


async def test_a_replica_that_does_not_lead_looks_at_no_server(world: World) -> None:
    waiting = Running(world)
    waiting.name("factory", ONE)
    assert waiting.addresses == set()
    waiting.loops.start()
    assert waiting.addresses == {ONE}
    waiting.loops.stop()


def test_looks_are_spread_and_a_server_whose_looks_take_long_is_looked_at_less_often() -> None:
    assert [first_look(jitter) for jitter in (0.0, 1.0)] == [0.0, SHORTEST]
    assert [next_look(0.01, jitter) for jitter in (0.0, 0.5, 1.0)] == pytest.approx([9.0, 10.0, 11.0])
    assert next_look(1.0, 0.5) == 20.0
    assert next_look(60.0, 0.5) == LONGEST


def test_a_server_that_does_not_respond_is_tried_when_its_breaker_lets_a_request_through() -> None:
    assert retry(0.0) == 2.0
    assert retry(47.0) == 47.0


def test_a_tail_is_in_use_as_long_as_a_placement_uses_it() -> None:
    tails = TailsInUse()
    tails.note("a", frozenset({TailKey(ONE, "x"), TailKey(TWO, "y")}))
    tails.note("b", frozenset({TailKey("https://one:8000", "x")}))
    assert tails.at("one:8000") == {"x"}
    tails.note("a", frozenset({TailKey(TWO, "z")}))
    assert tails.at("one:8000") == {"x"}
    assert tails.at("two:8000") == {"z"}
    tails.note("b", frozenset())
    tails.note("a", frozenset())
    assert tails.at("one:8000") == tails.at("two:8000") == set()
