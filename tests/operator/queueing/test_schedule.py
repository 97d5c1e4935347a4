"""One run per dirty key at a time covers all earlier events, and is retried after failures."""

import asyncio

import pytest

from edge_operator.workqueue import Schedule, WorkQueue


def test_a_key_made_dirty_twice_is_taken_once_at_the_earlier_time() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 5.0)
    schedule.add("a", 2.0)
    schedule.add("a", 9.0)
    assert schedule.take(1.9) == []
    assert schedule.take(2.0) == ["a"]
    assert schedule.take(100.0) == []


def test_a_key_that_becomes_dirty_while_it_runs_runs_again_after_that() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 0.0)
    assert schedule.take(0.0) == ["a"]
    schedule.add("a", 1.0)
    assert schedule.take(2.0) == []
    assert schedule.wait(2.0) is None
    schedule.succeed("a", None)
    assert schedule.take(2.0) == ["a"]


def test_failures_are_retried_after_delays_that_double_up_to_a_minute_and_start_again_after_success() -> None:
    schedule: Schedule[str] = Schedule()
    delays = [schedule.fail("a", 0.0) for _ in range(8)]
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    schedule.succeed("a", None)
    assert schedule.fail("a", 0.0) == 1.0


def test_an_event_shortens_the_wait_of_a_failed_key() -> None:
    schedule: Schedule[str] = Schedule()
    for _ in range(6):
        schedule.fail("a", 0.0)
    schedule = Schedule()
    schedule.fail("a", 0.0)
    schedule.add("a", 0.3)
    assert schedule.wait(0.0) == pytest.approx(0.3)


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
