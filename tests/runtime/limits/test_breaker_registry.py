"""The breakers of a node's hops, with a simulated hop and clock."""

from __future__ import annotations

import asyncio

from edge_runtime.routing.breaker_registry import BreakerRegistry


class _Hop:
    """A hop with a given health."""

    peer, reachable = "cloud", True

    def __init__(self, address: str = "http://far") -> None:
        self.address, self.well, self.asked, self.most = address, False, 0, 0
        self._asking = 0

    async def healthy(self, within: float) -> bool:
        self.asked += 1
        self._asking += 1
        self.most = max(self.most, self._asking)
        await asyncio.sleep(0)
        self._asking -= 1
        return self.well


def _breakers(hop: _Hop) -> tuple[BreakerRegistry, asyncio.Event]:
    changed = asyncio.Event()
    breakers = BreakerRegistry(lambda: 10.0)
    breakers.watch(changed.set, {hop.address})
    return breakers, changed


async def test_of_many_requests_one_finds_out_and_its_success_lets_all_through() -> None:
    hop = _Hop()
    breakers, changed = _breakers(hop)
    assert not breakers.blocked([hop, None])
    assert breakers.ended(hop, "failed", trial=False, fair=True) is True
    assert breakers.blocked([hop, None]) == {0}
    changed.clear()
    async with asyncio.timeout(5):
        await changed.wait()  # that it failed
        assert breakers.may_try(hop) is False
        assert not breakers.testable([hop, None])
        hop.well = True
        changed.clear()
        await changed.wait()  # that it responds again
    assert breakers.testable([hop, None]) == {0}
    assert [breakers.may_try(hop) for _ in range(5)] == [True, False, False, False, False]
    breakers.ended(hop, "ok", trial=True, fair=True)
    assert not breakers.blocked([hop])
    assert hop.most == 1
    breakers.close()


async def test_those_who_wait_are_released_one_after_the_other_when_it_opens() -> None:
    hop, waited = _Hop(), []
    breakers, _ = _breakers(hop)

    async def wait(number: int) -> None:
        try:
            async with asyncio.timeout(None) as limit:
                with breakers.patient(hop, limit, 0.0):
                    await asyncio.Event().wait()  # a hop that never responds
        except TimeoutError:
            waited.append(number)

    tasks = [asyncio.create_task(wait(i)) for i in range(4)]
    await asyncio.sleep(0)
    breakers.ended(hop, "failed", trial=False, fair=True)
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks)
    assert waited == [0, 1, 2, 3]
    breakers.close()


async def test_being_late_where_there_was_no_time_is_not_the_hops_fault() -> None:
    hop = _Hop()
    breakers, _ = _breakers(hop)
    for _ in range(10):
        breakers.ended(hop, "late", trial=False, fair=False)
    assert not breakers.blocked([hop])


async def test_a_hop_that_no_table_has_any_more_is_not_probed() -> None:
    hop, others = _Hop(), asyncio.all_tasks()
    breakers, changed = _breakers(hop)
    breakers.ended(hop, "failed", trial=False, fair=True)
    (probing,) = asyncio.all_tasks() - others
    breakers.watch(changed.set, ())
    assert not breakers.blocked([hop])
    async with asyncio.timeout(5):
        await asyncio.wait([probing])
    assert probing.cancelled()
    assert hop.asked == 0
    breakers.close()


async def test_only_services_with_hops_to_an_address_hear_of_its_breaker() -> None:
    near, far = _Hop("http://near"), _Hop("http://far")
    breakers, heard = BreakerRegistry(lambda: 10.0), list[str]()
    breakers.watch(lambda: heard.append("first"), {near.address, far.address})
    breakers.watch(lambda: heard.append("second"), {far.address})
    breakers.ended(near, "failed", trial=False, fair=True)
    assert heard == ["first"]
    breakers.ended(far, "failed", trial=False, fair=True)
    assert heard == ["first", "first", "second"]
    breakers.close()


async def test_a_breaker_stays_while_any_service_watches_its_address() -> None:
    hop, others = _Hop(), asyncio.Event()
    breakers, changed = _breakers(hop)
    breakers.watch(others.set, {hop.address})
    breakers.ended(hop, "failed", trial=False, fair=True)
    breakers.watch(changed.set, ())
    assert breakers.blocked([hop]) == {0}
    breakers.watch(others.set, ())
    assert not breakers.blocked([hop])
    breakers.close()


async def test_a_link_that_recovers_closes_the_breakers_of_the_hops_that_cross_it() -> None:
    cloud, lab = _Hop("http://cloud"), _Hop("http://lab")
    lab.peer = "lab"
    breakers, _ = _breakers(cloud)
    breakers.watch(asyncio.Event().set, {lab.address})
    for hop in (cloud, lab):
        breakers.ended(hop, "failed", trial=False, fair=True)
    breakers.recovered("lab")
    assert breakers.blocked([cloud, lab]) == {0}
    breakers.close()
