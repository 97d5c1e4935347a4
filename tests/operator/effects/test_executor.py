"""Actions run per target, rest after failures, and hold up no other target."""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from edge_operator.effects.executor import (
    API_SERVER,
    FAILED,
    FIRST_RETRY,
    STATUSES,
    STORE,
    Action,
    Executor,
    Rests,
)
from edge_operator.effects.places import Places
from edge_operator.errors import ApiUnreachableError, WriteConflictError


class Woken:
    """Counts wake-ups."""

    def __init__(self) -> None:
        self.count = 0
        self.again = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self.again.set()

    async def next(self) -> None:
        await asyncio.wait_for(self.again.wait(), 20)
        self.again.clear()


async def turns() -> None:
    """Lets tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


def action(
    call: Callable[[], Any],
    wake: Callable[[], None],
    *,
    key: str = "key",
    target: str = "target",
    done: Callable[[Any], float | None] = lambda _: None,
    urgent: bool = False,
    tenant: str = "",
) -> Action[Any]:
    return Action(target, key, call, done, wake, urgent, tenant)


@pytest.fixture
def executor() -> Executor:
    return Executor(clock=lambda: 0.0, jitter=lambda: 1.0)


async def test_the_caller_gets_the_result_and_is_woken(executor: Executor) -> None:
    woken, found = Woken(), list[int]()
    executor.submit(action(lambda: 7, woken, done=lambda value: found.append(value)))
    await woken.next()
    assert found == [7]


async def test_what_is_under_way_is_not_begun_twice(executor: Executor) -> None:
    woken, held, calls = Woken(), threading.Event(), list[int]()

    def call() -> None:
        calls.append(1)
        assert held.wait(20)

    executor.submit(action(call, woken))
    executor.submit(action(call, woken))
    held.set()
    await woken.next()
    assert calls == [1]
    executor.submit(action(call, woken))
    await woken.next()
    assert calls == [1, 1]


async def test_who_submits_what_another_one_has_under_way_is_woken_at_its_end(executor: Executor) -> None:
    first, second, held = Woken(), Woken(), threading.Event()
    executor.submit(action(lambda: held.wait(20), first))
    executor.submit(action(lambda: None, second))
    held.set()
    await second.next()
    assert (first.count, second.count) == (1, 1)


async def test_a_hung_target_holds_up_its_own_actions_alone(executor: Executor) -> None:
    held, hung, other = threading.Event(), Woken(), Woken()
    executor.submit(action(lambda: held.wait(20), hung, key="first", target="hung"))
    executor.submit(action(lambda: None, hung, key="second", target="hung"))
    executor.submit(action(lambda: None, other, key="third", target="other"))
    await other.next()
    assert hung.count == 0
    held.set()
    while hung.count < 2:
        await hung.next()


async def test_an_urgent_action_overtakes_those_that_wait_for_its_target(executor: Executor) -> None:
    held, order, ended = threading.Event(), list[str](), Woken()
    executor.submit(action(lambda: held.wait(20), ended, key="under way"))
    for key in ("status", "objects", "other"):
        executor.submit(action(functools.partial(order.append, key), ended, key=key))
    await turns()
    executor.submit(action(functools.partial(order.append, "deletion"), ended, key="deletion", urgent=True))
    executor.submit(action(functools.partial(order.append, "objects"), ended, key="objects", urgent=True))
    held.set()
    while not executor.idle:
        await ended.next()
    assert (set(order[:2]), order[2:]) == ({"deletion", "objects"}, ["status", "other"])


async def test_an_action_that_waits_for_its_target_runs_as_it_was_decided_last(executor: Executor) -> None:
    held, order, ended, replaced = threading.Event(), list[str](), Woken(), Woken()
    executor.submit(action(lambda: held.wait(20), ended, key="under way"))
    await turns()
    executor.submit(action(functools.partial(order.append, "earlier"), replaced, key="status"))
    executor.submit(action(functools.partial(order.append, "later"), ended, key="status"))
    held.set()
    while not executor.idle:
        await ended.next()
    await replaced.next()
    assert order == ["later"]


async def test_a_place_is_given_on_if_who_waited_for_it_is_gone() -> None:
    places, entered = Places(1), list[str]()

    async def enter(key: str) -> None:
        async with places.taken(key, urgent=False):
            entered.append(key)

    async with places.taken("first", urgent=False):
        tasks = [asyncio.create_task(enter(key)) for key in ("waits", "given", "last")]
        await turns()
        tasks[0].cancel()
        await turns()
    tasks[1].cancel()
    await asyncio.wait_for(tasks[2], 20)
    assert entered == ["last"]


async def test_what_failed_rests_and_is_left_out_until_its_cause_has_changed(executor: Executor) -> None:
    woken, calls = Woken(), list[int]()

    def refused(_: object) -> float:
        calls.append(1)
        return FAILED

    executor.submit(action(lambda: None, woken, done=refused))
    await woken.next()
    executor.submit(action(lambda: None, woken, done=refused))
    assert executor.idle
    executor.mended("key")
    executor.submit(action(lambda: None, woken, done=refused))
    await woken.next()
    assert calls == [1, 1]


@pytest.mark.parametrize("error", [WriteConflictError("changed since"), KeyError("a defect")])
async def test_an_action_that_raises_an_error_rests_until_its_cause_has_changed(
    executor: Executor, error: Exception
) -> None:
    woken, calls = Woken(), list[int]()

    def fail() -> None:
        calls.append(1)
        raise error

    for begun in (1, 1, 2):
        if begun == 2:
            executor.mended("key")
        executor.submit(action(fail, woken))
        if not executor.idle:
            await woken.next()
        assert len(calls) == begun


@pytest.mark.parametrize(("error", "rests"), [(ApiUnreachableError, True), (WriteConflictError, False)])
async def test_a_target_that_does_not_respond_gets_no_further_request_for_a_while(
    executor: Executor, error: type[Exception], rests: bool
) -> None:
    woken, other = Woken(), Woken()

    def fail() -> None:
        raise error("no response")

    executor.submit(action(fail, woken))
    await woken.next()
    executor.submit(action(lambda: None, other, key="other"))
    assert executor.idle is rests
    executor.submit(action(lambda: None, other, key="third", target="elsewhere"))
    await other.next()


async def test_failures_of_requests_that_were_under_way_together_are_one_failure_of_their_target() -> None:
    now, held, woken, later = 0.0, threading.Event(), Woken(), Woken()
    executor = Executor(clock=lambda: now, jitter=lambda: 1.0)

    def fail() -> None:
        assert held.wait(20)
        raise ApiUnreachableError("no response")

    for key in "abcdefgh":
        executor.submit(action(fail, woken, key=key, target=API_SERVER))
    held.set()
    while woken.count < 8:
        await woken.next()
    now = FIRST_RETRY
    executor.submit(action(lambda: None, later, key="later", target=API_SERVER))
    await later.next()


async def test_what_waits_for_a_target_when_that_fails_is_not_sent_to_it(executor: Executor) -> None:
    held, woken, calls = threading.Event(), Woken(), list[int]()

    def fail() -> None:
        assert held.wait(20)
        raise ApiUnreachableError("no response")

    executor.submit(action(fail, woken, key="first"))
    executor.submit(action(lambda: calls.append(1), woken, key="second"))
    held.set()
    await woken.next()
    other = Woken()
    executor.submit(action(lambda: None, other, key="third", target="elsewhere"))
    await other.next()
    assert calls == []
    assert executor.idle


async def test_places_that_hang_leave_threads_to_the_api_server_and_to_triton_servers() -> None:
    executor, held = Executor(clock=lambda: 0.0, threads=2), threading.Event()
    for name in "abcd":
        place = f"https://{name}.test"
        executor.submit(action(lambda: held.wait(20), Woken(), key=place, target=place))
    try:
        for target in (API_SERVER, STATUSES, STORE, "triton.test:8000"):
            woken = Woken()
            executor.submit(action(lambda: None, woken, key=target, target=target))
            await woken.next()
    finally:
        held.set()


async def test_a_namespace_whose_places_hang_leaves_threads_to_the_others() -> None:
    executor, held = Executor(clock=lambda: 0.0, threads=6), threading.Event()
    for number in range(20):
        place = f"https://{number}.test"
        executor.submit(action(lambda: held.wait(20), Woken(), key=place, target=place, tenant="shop"))
    await turns()
    woken = Woken()
    try:
        executor.submit(action(lambda: None, woken, key="bank", target="https://a.test", tenant="bank"))
        await woken.next()
    finally:
        held.set()


async def test_statuses_that_hang_leave_places_to_the_writes_of_objects(executor: Executor) -> None:
    held, woken = threading.Event(), Woken()
    for number in range(10):
        executor.submit(action(lambda: held.wait(20), Woken(), key=f"{number}", target=STATUSES))
    await turns()
    try:
        executor.submit(action(lambda: None, woken, key="objects", target=API_SERVER))
        await woken.next()
    finally:
        held.set()


@pytest.mark.parametrize("target", [API_SERVER, STATUSES])
async def test_the_end_of_the_process_waits_for_writes_and_not_for_downloads(
    executor: Executor, target: str
) -> None:
    begun, download, write, written = threading.Event(), threading.Event(), threading.Event(), list[int]()

    def downloads() -> None:
        begun.set()
        assert download.wait(20)

    def writes() -> None:
        assert write.wait(20)
        written.append(1)

    executor.submit(action(downloads, Woken(), key="model", target="https://slow.test"))
    executor.submit(action(writes, Woken(), key="status", target=target))
    try:
        assert await asyncio.to_thread(begun.wait, 20)
        await executor.stop()
        ended = asyncio.create_task(asyncio.to_thread(executor.wait_for_writes))
        write.set()
        await asyncio.wait_for(ended, 10)
        assert written == [1]
        assert not download.is_set()
    finally:
        download.set()


async def test_a_defect_in_an_action_is_a_failure_of_it_alone(executor: Executor) -> None:
    woken = Woken()

    def defect() -> None:
        raise KeyError("a defect")

    executor.submit(action(defect, woken))
    await woken.next()
    executor.submit(action(lambda: None, woken, key="other"))
    await woken.next()


def test_rests_double_up_to_a_minute_and_begin_again_after_success() -> None:
    rests = Rests(lambda: 1.0)
    delays = [rests.failed("a", 0.0) for _ in range(2000)]
    assert delays[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert delays[-1] == 60.0
    assert rests.left("a", 50.0) == 10.0
    assert rests.left("b", 0.0) == 0.0
    rests.forget("a")
    assert rests.failed("a", 0.0) == 1.0


def test_a_key_that_never_returns_is_forgotten() -> None:
    """Services come and go, and some of them after a failure."""
    rests = Rests(lambda: 1.0)
    for at in range(10_000):
        rests.failed(f"service-{at}", float(at))
    assert len(rests) < 1000
    assert rests.failed("service-9999", 10_000.0) == 2.0, "the latest are known"


def test_actions_that_fail_together_are_not_retried_together() -> None:
    values = iter((0.0, 1.0))
    rests = Rests(lambda: next(values))
    assert {rests.failed("a", 0.0), rests.failed("b", 0.0)} == {0.5, 1.0}
