"""One run per dirty key at a time covers all earlier events, and is retried after failures."""

import asyncio
import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_operator.loops.workqueue import Schedule, WorkQueue


def scheduled() -> Schedule[str]:
    """Delays are the longest that jitter allows."""
    return Schedule(lambda: 1.0)


def test_a_key_made_dirty_twice_is_taken_once_at_the_earlier_time() -> None:
    schedule = scheduled()
    schedule.add("a", 5.0)
    schedule.add("a", 2.0)
    schedule.add("a", 9.0)
    assert schedule.take(1.9, 1) == []
    assert schedule.take(2.0, 1) == ["a"]
    assert schedule.take(100.0, 1) == []


def test_a_key_that_becomes_dirty_while_it_runs_runs_again_after_that() -> None:
    schedule = scheduled()
    schedule.add("a", 0.0)
    assert schedule.take(0.0, 1) == ["a"]
    schedule.add("a", 1.0)
    assert schedule.take(2.0, 1) == []
    assert schedule.wait(2.0) is None
    schedule.succeed("a", None)
    assert schedule.take(2.0, 1) == ["a"]


def test_an_event_while_a_key_waits_for_a_free_place_causes_no_second_run() -> None:
    schedule = scheduled()
    schedule.add("a", 0.0)
    schedule.add("b", 1.0)
    assert schedule.take(1.0, 1) == ["a"]
    schedule.add("b", 2.0)
    schedule.succeed("a", None)
    assert schedule.take(2.0, 1) == ["b"]
    schedule.succeed("b", None)
    assert schedule.take(100.0, 1) == []


def test_failures_are_retried_after_delays_that_double_up_to_a_minute_and_start_again_after_success() -> None:
    schedule = scheduled()
    delays = [schedule.fail("a", 0.0) for _ in range(2000)]
    assert delays[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert delays[-1] == 60.0
    schedule.succeed("a", None)
    assert schedule.fail("a", 0.0) == 1.0


def test_events_for_a_key_that_is_due_again_much_later_take_no_memory() -> None:
    schedule = scheduled()
    tracemalloc.start()
    for second in range(10_000):
        schedule.add("a", float(second))
        assert schedule.take(float(second), 1) == ["a"]
        schedule.succeed("a", second + 900.0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 50_000, "an entry takes more than 100 bytes"
    assert schedule.wait(10_000.0) == 899.0


def test_keys_that_fail_together_are_not_retried_together() -> None:
    numbers = iter([0.0, 0.5, 1.0])
    schedule: Schedule[str] = Schedule(lambda: next(numbers))
    assert [schedule.fail(key, 0.0) for key in "abc"] == [0.5, 0.75, 1.0]


def test_an_event_does_not_shorten_the_wait_of_a_failed_key() -> None:
    schedule = scheduled()
    for _ in range(6):
        schedule.fail("a", 0.0)
    for heartbeat in range(31):
        schedule.add("a", float(heartbeat))
        assert schedule.take(float(heartbeat), 1) == []
    assert schedule.take(32.0, 1) == ["a"]
    schedule.add("a", 33.0)
    schedule.fail("a", 34.0)
    assert schedule.wait(34.0) == 60.0


def test_a_change_of_what_a_key_failed_for_runs_it_at_once_and_starts_the_delays_again() -> None:
    schedule = scheduled()
    for _ in range(6):
        schedule.fail("a", 0.0)
    schedule.add("a", 0.3, mended=True)
    assert schedule.take(0.3, 1) == ["a"]
    assert schedule.fail("a", 0.3) == 1.0


def test_a_change_during_a_run_that_fails_runs_the_key_again_at_once() -> None:
    schedule = scheduled()
    schedule.fail("a", 0.0)
    assert schedule.take(1.0, 1) == ["a"]
    schedule.add("a", 1.5, mended=True)
    schedule.fail("a", 2.0)
    assert schedule.take(2.0, 1) == ["a"]
    assert schedule.fail("a", 3.0) > 0, "the change counts once"
    assert schedule.take(3.0, 1) == []


KEYS = st.sampled_from("abc")
TURNS = 10  # of the event loop, within which an idle queue begins to wait


class Schedules(RuleBasedStateMachine):
    """A schedule with two places, against what it promises."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.schedule: Schedule[str] = Schedule(lambda: 0.5)
        self.running: set[str] = set()
        self.events: dict[str, float] = {}
        """When each key with an event that no run has begun after may run at the latest."""
        self.retries: dict[str, float] = {}
        self.mended: set[str] = set()
        self.streaks: dict[str, int] = {}

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=KEYS, delay=st.floats(0.0, 5.0), mended=st.booleans())
    def an_event_arrives(self, key: str, delay: float, *, mended: bool) -> None:
        self.schedule.add(key, self.now + delay, mended=mended)
        if mended:
            self.retries.pop(key, None)
            self.streaks.pop(key, None)
            self.mended |= {key} & self.running
        due = max(self.now + delay, self.retries.get(key, 0.0))
        self.events[key] = min(due, self.events.get(key, due))

    @rule(free=st.integers(0, 2))
    def runs_begin(self, free: int) -> None:
        taken = self.schedule.take(self.now, free)
        due = [key for key, at in self.events.items() if at <= self.now and key not in self.running]
        assert len(taken) == len(set(taken)) == min(free, len(due))
        assert set(taken) <= set(due)
        for key in taken:
            assert self.now >= self.retries.get(key, 0.0)
            del self.events[key]
            self.running.add(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), again=st.none() | st.floats(0.0, 5.0))
    def a_run_succeeds(self, data: st.DataObject, again: float | None) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self._end(key)
        self.retries.pop(key, None)
        self.streaks.pop(key, None)
        at = None if again is None else self.now + again
        self.schedule.succeed(key, at)
        if at is not None:
            self.events[key] = min(at, self.events.get(key, at))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def a_run_fails(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        mended = key in self.mended
        self._end(key)
        delay = self.schedule.fail(key, self.now)
        if not mended:
            streak = self.streaks.get(key, 0)
            assert delay == min(60.0, 2.0**streak) * 0.75
            self.streaks[key] = streak + 1
            self.retries[key] = self.events[key] = self.now + delay

    def _end(self, key: str) -> None:
        self.running.discard(key)
        self.mended.discard(key)

    @invariant()
    def the_next_wake_up_is_that_of_the_earliest_key_that_does_not_run(self) -> None:
        idle = [at for key, at in self.events.items() if key not in self.running]
        expected = max(0.0, min(idle) - self.now) if idle else None
        assert self.schedule.wait(self.now) == expected


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(derandomize=True, deadline=None)


async def test_a_running_key_occupies_one_place_and_no_key_runs_twice_for_one_event() -> None:
    begun: list[str] = []
    first, release, all_begun = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(key: str) -> float | None:
        begun.append(key)
        first.set()
        if key == "last":
            all_begun.set()
        await release.wait()
        return None

    queue: WorkQueue[str] = WorkQueue(work, asyncio.get_running_loop().time, parallel=1)
    task = asyncio.create_task(queue.run())
    queue.add("slow", 0.0)
    await asyncio.wait_for(first.wait(), 10)
    queue.add("other", 0.0)
    for _ in range(20):
        await asyncio.sleep(0)
    queue.add("other", 0.0)
    queue.add("last", 0.01)
    release.set()
    try:
        await asyncio.wait_for(all_begun.wait(), 10)
    finally:
        task.cancel()
    assert begun == ["slow", "other", "last"]


async def test_the_queue_works_on_what_is_dirty_comes_back_when_told_and_survives_a_failure() -> None:
    done: list[str] = []
    enough = asyncio.Event()

    async def work(key: str) -> float | None:
        done.append(key)
        if done.count("flaky") == 1 and key == "flaky":
            raise RuntimeError("once")
        if done.count("flaky") >= 2 and done.count("steady") >= 2:
            enough.set()
        return 0.01 if key == "steady" else None

    queue: WorkQueue[str] = WorkQueue(work, asyncio.get_running_loop().time)
    task = asyncio.create_task(queue.run())
    queue.add("steady", 0.0)
    queue.add("flaky", 0.0)
    try:
        await asyncio.wait_for(enough.wait(), 10)
    except TimeoutError:
        pytest.fail(f"worked on {done}")
    finally:
        task.cancel()


@pytest.mark.parametrize(("took", "due"), [(0.1, 0.3), (1.0, 2.0), (20.0, 3.0)])
async def test_an_event_waits_longer_for_a_key_whose_runs_take_long(took: float, due: float) -> None:
    now, ran, marks = 0.0, list[str](), asyncio.Queue[str]()

    async def work(key: str) -> float | None:
        nonlocal now
        now += took if not ran else 0.0
        ran.append(key)
        if key != "long":
            marks.put_nowait(key)
        return None

    async def reached(at: float, mark: str) -> None:
        nonlocal now
        now = at
        queue.add(mark, 0.0)
        await asyncio.wait_for(marks.get(), 10)

    queue: WorkQueue[str] = WorkQueue(work, lambda: now, parallel=1)
    task = asyncio.create_task(queue.run())
    queue.add("long", 0.0)
    await reached(0.0, "first")
    began = now
    queue.add("long")
    try:
        await reached(began + due - 0.01, "before")
        assert ran == ["long", "first", "before"]
        await reached(began + due + 0.01, "after")
        assert sorted(ran) == ["after", "before", "first", "long", "long"]
    finally:
        task.cancel()


@pytest.mark.parametrize("steps", range(5))
async def test_a_queue_that_is_cancelled_while_an_event_wakes_it_ends(steps: int) -> None:
    async def work(key: str) -> float | None:
        raise AssertionError(key)

    queue: WorkQueue[str] = WorkQueue(work, asyncio.get_running_loop().time)
    queue.add("later", 1000.0)
    task = asyncio.create_task(queue.run())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    queue.add("other", 1000.0)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done
