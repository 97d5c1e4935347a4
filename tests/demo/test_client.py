import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from demo.client import Image, LoadGenerator, Reply
from demo.samples import LabeledImages

SAMPLES = LabeledImages(np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1), np.arange(3, dtype=np.int64))


class Entry:
    """Responds with an image's own number as its label; `stalls` get no response, `breaks` raise."""

    def __init__(self, stalls: frozenset[int] = frozenset(), breaks: frozenset[int] = frozenset()) -> None:
        self.stalls, self.breaks = stalls, breaks
        self.asked: list[int] = []
        self.changed = asyncio.Event()

    async def infer(self, image: Image) -> Reply:
        number = int(image.reshape(()))
        self.asked.append(number)
        self.changed.set()
        if number in self.stalls:
            await asyncio.Event().wait()
        if number in self.breaks:
            raise OSError("connection\n refused")
        return np.eye(3, dtype=np.float32)[[number]], {
            "exit": "exit5",
            "cut": "pool1",
            "route": "exit5@pool1",
        }

    async def close(self) -> None: ...


async def bandwidth() -> float:
    return 0.0


async def played(entry: Entry, requests: int, starts: int = 1) -> list[dict[str, Any]]:
    """The output of a client that is started, stopped after a number of requests, and awaited."""
    said: list[dict[str, Any]] = []

    async def commands() -> AsyncIterator[str]:
        for number in range(1, starts + 1):
            yield "start"
            async with asyncio.timeout(20):
                while len(entry.asked) < number * requests:
                    entry.changed.clear()
                    await entry.changed.wait()
            yield "stop"

    await LoadGenerator(entry, SAMPLES, 200.0, 0.5, said.append, bandwidth).run(commands())
    return said


async def test_answers_are_judged_by_the_label_and_carry_their_route() -> None:
    said = await played(Entry(), 6)
    results = [event for event in said if event["event"] == "answer"]
    assert len(results) >= 6
    assert all(
        result["right"] and result["exit"] == "exit5" and result["cut"] == "pool1" for result in results
    )


async def test_a_request_that_stalls_holds_no_other_up_and_is_lost_at_its_timeout() -> None:
    entry = Entry(stalls=frozenset({0}))
    said = await played(entry, 9)
    results = [event for event in said if event["event"] == "answer"]
    lost = [result for result in results if "error" in result]
    assert all("0.5 s" in result["error"] for result in lost)
    assert len(lost) == entry.asked.count(0) >= 3
    assert results.index(lost[0]) > 0  # others got responses while it waited


async def test_every_request_is_accounted_for_when_the_client_says_that_it_stopped() -> None:
    entry = Entry(stalls=frozenset({2}), breaks=frozenset({1}))
    said = await played(entry, 6)
    assert said[-1] == {"event": "stopped"}
    assert sum(event["event"] == "answer" for event in said) == len(entry.asked)


async def test_an_error_is_one_line() -> None:
    said = await played(Entry(breaks=frozenset({0, 1, 2})), 3)
    assert {event["error"] for event in said if event["event"] == "answer"} == {"connection refused"}


async def test_every_start_begins_with_the_same_image() -> None:
    entry = Entry()
    await played(entry, 4, starts=2)
    runs = "".join(map(str, entry.asked)).split("0120")
    assert entry.asked[0] == 0
    assert len(runs) > 2


async def test_a_rate_holds_at_once() -> None:
    entry = Entry()
    said: list[dict[str, Any]] = []

    async def commands() -> AsyncIterator[str]:
        yield "start"
        await asyncio.sleep(0)  # the first request is sent, the next one is due in an hour
        yield "rate 200"
        async with asyncio.timeout(20):
            while len(entry.asked) < 4:
                entry.changed.clear()
                await entry.changed.wait()
        yield "stop"

    once_an_hour = 1 / 3600
    await LoadGenerator(entry, SAMPLES, once_an_hour, 0.5, said.append, bandwidth).run(commands())
    assert len(entry.asked) >= 4


async def test_a_link_that_is_down_is_said_to_have_no_bandwidth() -> None:
    said = await played(Entry(), 2)
    assert [event["bps"] for event in said if event["event"] == "link"] == [None]
