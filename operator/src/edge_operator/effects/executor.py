"""Carries out actions in threads: per target, with back-off and a breaker for each.

A target is a system that can be slow or away by itself: the API server, the model store, the place that
serves a model, a Triton server. Only so many of its actions run at once, and places have threads of their
own, of which a namespace has a few, however many of them hang: no target holds up another one, no download a
write, and no namespace the downloads of others. Urgent actions, those of deletions, overtake the others that
wait for a target.

What is submitted again while it waits for its target replaces what waits: it runs as it was decided last.
What is submitted while it runs, or while it rests after a failure, is left out: the plan submits what is
still needed when it is woken.
"""

import asyncio
import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from edge_operator.effects.places import Places
from edge_operator.errors import ApiUnreachableError, NotLeadingError, OperatorError
from edge_operator.steps import DOWNLOAD, RUNNING, WORK

Result = TypeVar("Result")

FIRST_RETRY = 1.0
LAST_RETRY = 60.0
_DOUBLINGS = 10
"""More than it takes to reach the last retry."""
API_SERVER = "API server"
STATUSES = "API server, statuses of services"
"""Their writes wait apart from those of objects: the newest replaces those that wait, so that while many
services are placed, their statuses take less of the API server than their tables."""
STORE = "store"
_AT_ONCE = {API_SERVER: 8, STATUSES: 2, STORE: 4}
"""Actions of a target that run at once; of other targets, one."""
_OF_A_TENANT = 4
"""Actions of one namespace at places that run at once."""
_PLACES, _SERVERS = "places", "servers"
"""The other targets: places that serve files, which have a scheme, and Triton servers."""
_KEPT = 600.0
"""Seconds after a rest for which the failures before it are known."""
_SPARE = 100
"""Outdated failures that are kept in any case."""


@dataclass(slots=True)
class Rests:
    """How long each key rests after failures: each time twice as long, with jitter."""

    jitter: Callable[[], float] = random.SystemRandom().random
    _failures: dict[Hashable, int] = field(default_factory=dict)
    _until: dict[Hashable, float] = field(default_factory=dict)
    _swept: int = _SPARE

    def __len__(self) -> int:
        """Returns the number of keys that it knows."""
        return len(self._until)

    def failed(self, key: Hashable, now: float) -> float:
        """Notes a failure. Returns the seconds for which the key rests."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        doubled = FIRST_RETRY * 2.0 ** min(failures, _DOUBLINGS)
        delay = min(LAST_RETRY, doubled) * (0.5 + self.jitter() / 2)
        self._until[key] = now + delay
        self._sweep(now)
        return delay

    def rest(self, key: Hashable, now: float, seconds: float) -> None:
        """Lets a key rest that did not fail."""
        self._failures.pop(key, None)
        self._until[key] = now + seconds
        self._sweep(now)

    def left(self, key: Hashable, now: float) -> float:
        """Returns the seconds for which the key still rests."""
        return max(0.0, self._until.get(key, now) - now)

    def forget(self, key: Hashable) -> None:
        """Ends the rest of a key that succeeded, or whose cause of failure has changed."""
        self._failures.pop(key, None)
        self._until.pop(key, None)

    def _sweep(self, now: float) -> None:
        """Forgets keys that did not return, once there are twice as many as were left the last time."""
        if len(self._until) <= 2 * self._swept:
            return
        for key in [key for key, until in self._until.items() if until + _KEPT < now]:
            self.forget(key)
        self._swept = max(_SPARE, len(self._until))


FAILED = 0.0
"""What `Action.done` returns of a failure: it is tried again with back-off."""


@dataclass(frozen=True, slots=True)
class Action(Generic[Result]):
    """A blocking call.

    Attributes:
        target: What it calls.
        key: Identifies it.
        call: Raises OperatorError if it fails.
        done: Takes its result; returns the seconds after which it is to be done again, FAILED, or None.
        wake: Called when it has ended, and when it is time to submit it again.
        tenant: The namespace for which a place is called; it has a few of their threads.
        urgent: Whether it overtakes what waits for its target, also as it was submitted before.
    """

    target: str
    key: Hashable
    call: Callable[[], Result]
    done: Callable[[Result], float | None]
    wake: Callable[[], None]
    urgent: bool = False
    tenant: str = ""


class Executor:
    """Runs blocking calls off the event loop. Used on the event loop only."""

    def __init__(
        self,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.SystemRandom().random,
        threads: int = 32,
    ) -> None:
        """threads: for all places, and as many for all Triton servers."""
        self._clock = clock
        self._rests, self._targets = Rests(jitter), Rests(jitter)
        self._under_way: dict[Hashable, asyncio.Task[None]] = {}
        self._waiting: dict[Hashable, Action[Any]] = {}
        """The actions that wait for their target, as they were submitted last."""
        self._left_out: dict[Hashable, Callable[[], None]] = {}
        """Wakes who submitted an action that was left out or replaced, which can be another loop."""
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._places: dict[str, Places] = defaultdict(lambda: Places(1))
        self._places |= {target: Places(at_once) for target, at_once in _AT_ONCE.items()}
        self._tenants: dict[str, Places] = defaultdict(lambda: Places(_OF_A_TENANT))
        self._failed_at: dict[str, float] = {}
        """When the last failure of each target was counted."""
        at_once = {**_AT_ONCE, _PLACES: threads, _SERVERS: threads}
        self._threads = {name: ThreadPoolExecutor(n, f"effect on {name}") for name, n in at_once.items()}

    def submit(self, action: Action[Result]) -> None:
        """Starts an action unless it runs or rests. One that waits for its target is replaced."""
        if action.key in self._under_way:
            replaced = self._waiting.get(action.key)
            if replaced is not None and replaced.target == action.target:
                self._waiting[action.key] = action
                self._left_out[action.key] = replaced.wake
            else:
                self._left_out[action.key] = action.wake
            if action.urgent:
                self._places[action.target].hurry(action.key)
            return
        now = self._clock()
        left = max(self._rests.left(action.key, now), self._targets.left(action.target, now))
        if left > 0:
            self._wake_later(action, left)
            return
        self._waiting[action.key] = action
        self._under_way[action.key] = asyncio.create_task(self._run(action))

    def mended(self, *keys: Hashable) -> None:
        """Ends the rests of actions for which a cause of failure has changed."""
        for key in keys:
            self._rests.forget(key)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    async def stop(self) -> None:
        """Begins no further action; those in a thread run to their end."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

    def wait_for_writes(self) -> None:
        """Waits for the actions in threads that write to the API server; blocking."""
        for target in (API_SERVER, STATUSES):
            self._threads[target].shutdown(wait=True)

    def wait_for_servers(self) -> None:
        """Waits for the actions in threads that call Triton servers; blocking."""
        self._threads[_SERVERS].shutdown(wait=True)

    async def _run(self, action: Action[Result]) -> None:
        again: float | None = FAILED
        began = self._clock()
        try:
            async with (
                self._tenants[action.tenant].taken(action.key, urgent=False)
                if action.tenant
                else contextlib.nullcontext(),
                self._places[action.target].taken(action.key, urgent=action.urgent),
            ):
                action = self._waiting.pop(action.key)
                began = self._clock()
                if left := self._targets.left(action.target, began):
                    self._wake_later(action, left)
                    return
                called = _called_by(action.target)
                limit = DOWNLOAD if called in (STORE, _PLACES) else WORK
                with RUNNING.step("effect", f"{action.target}: {action.key}", limit):
                    loop = asyncio.get_running_loop()
                    result = await loop.run_in_executor(self._threads[called], action.call)
                again = action.done(result)
            self._targets.forget(action.target)
        except (ApiUnreachableError, NotLeadingError) as error:
            rest = self._target_failed(action.target, began)
            logging.getLogger(__name__).warning("%s: %s: no request for %.0f s", action.target, error, rest)
        except OperatorError as error:
            logging.getLogger(__name__).warning("%s: %s", action.target, error)
        except Exception:
            logging.getLogger(__name__).exception("an action for %s failed", action.target)
        finally:
            del self._under_way[action.key]
            self._waiting.pop(action.key, None)
            left_out = self._left_out.pop(action.key, None)
            if left_out is not None:
                asyncio.get_running_loop().call_soon(left_out)
        now = self._clock()
        if again is None:
            self._rests.forget(action.key)
        elif again == FAILED:
            self._wake_later(action, self._rests.failed(action.key, now))
        else:
            self._rests.rest(action.key, now, again)
            self._wake_later(action, again)
        action.wake()

    def _target_failed(self, target: str, began: float) -> float:
        """Returns the seconds for which a target rests. began: when the request that failed did.

        Requests that were under way together fail together, which is one failure.
        """
        now = self._clock()
        if began > self._failed_at.get(target, float("-inf")):
            self._failed_at[target] = now
            return self._targets.failed(target, now)
        return self._targets.left(target, now)

    def _wake_later(self, action: Action[Result], seconds: float) -> None:
        timer = self._timers.get(action.key)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[action.key] = loop.call_later(seconds, self._due, action.key, action.wake)

    def _due(self, key: Hashable, wake: Callable[[], None]) -> None:
        self._timers.pop(key, None)
        wake()


def _called_by(target: str) -> str:
    """Returns whose threads call a target."""
    if target in _AT_ONCE:
        return target
    return _PLACES if "://" in target else _SERVERS
