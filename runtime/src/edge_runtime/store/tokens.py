"""Whose tokens callers show: the API server's verdicts, kept for a while, by hash and in bounded memory."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from edge_api.store_access import AUDIENCE
from edge_runtime.errors import Unauthenticated, Unreachable
from edge_runtime.store.callers import Account, account_of
from edge_runtime.token_reviews import Review

FRESH: Final = 60.0
"""Seconds for which a valid token is not reviewed again."""
REFUSED: Final = 10.0
"""Seconds for which an invalid token is not reviewed again."""
STALE: Final = 900.0
"""Seconds after its last review for which a valid token is accepted while the API server does not respond."""
_RETRY: Final = 5.0  # between two reviews of a token that an absent API server cannot review
_KEPT: Final = 4096
_AT_ONCE: Final = 8

_log = logging.getLogger(__name__)

Reviewing = Callable[[str], Awaitable[Review]]


@dataclass(slots=True)
class _Verdict:
    """reviewed: when. again: the time of the next review. Both monotonic, in seconds."""

    review: Review
    reviewed: float
    again: float


class Tokens:
    """Accounts of tokens. Reviews of one token at the same time are one, and few run at once."""

    def __init__(
        self, review: Reviewing, clock: Callable[[], float] = time.monotonic, kept: int = _KEPT
    ) -> None:
        self._review, self._clock = review, clock
        # Apart: callers with invalid tokens do not displace valid ones.
        self._valid, self._invalid = _Verdicts(kept), _Verdicts(kept)
        self._running: dict[bytes, asyncio.Task[Review]] = {}
        # Apart: tokens that were never valid, which anybody can send, do not delay the reviews of others.
        self._slots, self._slots_of_unknown = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(_AT_ONCE)

    async def account(self, token: str) -> Account:
        """Returns the ServiceAccount of a token. Raises Unauthenticated, Forbidden, and Unreachable without a
        verdict that is recent enough.
        """
        review = await self._reviewed(token)
        if not review.user:
            raise Unauthenticated(
                f"authorization: the token is not valid ({review.why}): use a ServiceAccount token with "
                f"audience {AUDIENCE} that has not expired"
            )
        return account_of(review.user)

    async def _reviewed(self, token: str) -> Review:
        key = hashlib.sha256(token.encode()).digest()
        known = self._valid.get(key) or self._invalid.get(key)
        if known is not None and self._clock() < known.again:
            return known.review
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._asked(key, token))
            task.add_done_callback(lambda _: self._running.pop(key, None))
        try:
            return await asyncio.shield(task)
        except Unreachable as error:
            now = self._clock()
            if known is None or not known.review.user or now > known.reviewed + STALE:
                raise Unreachable(f"authorization: the token cannot be checked: {error}") from error
            known.again = now + _RETRY
            _log.warning("%s: still using the token's last review, %.0f s ago", error, now - known.reviewed)
            return known.review

    async def _asked(self, key: bytes, token: str) -> Review:
        async with self._slots if self._valid.get(key) is not None else self._slots_of_unknown:
            review = await self._review(token)
        now = self._clock()
        self._valid.pop(key)
        self._invalid.pop(key)
        kept, seconds = (self._valid, FRESH) if review.user else (self._invalid, REFUSED)
        kept.put(key, _Verdict(review, now, now + seconds))
        return review


class _Verdicts:
    """The most recently used verdicts."""

    def __init__(self, size: int) -> None:
        self._size, self._kept = size, OrderedDict[bytes, _Verdict]()

    def get(self, key: bytes) -> _Verdict | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: bytes, verdict: _Verdict) -> None:
        self._kept[key] = verdict
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def pop(self, key: bytes) -> None:
        self._kept.pop(key, None)
