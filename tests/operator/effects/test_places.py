"""So many actions of a target run at once."""

import asyncio
import contextlib

from edge_operator.effects.places import Places


async def test_a_place_is_not_lost_to_a_waiting_action_that_is_cancelled_as_it_gets_free() -> None:
    places, leave, entered = Places(1), asyncio.Event(), list[str]()

    async def act(name: str, *, urgent: bool = False) -> None:
        async with places.taken(name, urgent=urgent):
            entered.append(name)
            await leave.wait()

    tasks = {name: asyncio.create_task(act(name)) for name in ("first", "second", "third")}
    await asyncio.sleep(0)
    assert entered == ["first"]
    leave.set()
    tasks["second"].cancel()
    await tasks["first"]
    await tasks["third"]
    with contextlib.suppress(asyncio.CancelledError):
        await tasks["second"]
    assert entered == ["first", "third"]
