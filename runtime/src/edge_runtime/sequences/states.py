"""The states of the sequences of a model: bounded in number, each used by one request after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from edge_api.words import shown
from edge_runtime.errors import BadRequest, Overloaded
from edge_runtime.tensors import Array

_RETRY: Final = 1


class Sequence:
    """One sequence. state: inputs of its next request by name."""

    def __init__(self, state: Mapping[str, Array]) -> None:
        self.state = state
        self.turn = asyncio.Lock()  # wakes waiters in the order in which they came
        self.asked = 0  # requests that have the turn or wait for it
        self.used = 0.0


class SequenceStates:
    """Sequences by the name that clients give them, the least recently used first.

    most: sequences that are kept at once. idle: seconds after its last request until a sequence has expired.
    """

    def __init__(self, most: int, idle: float, clock: Callable[[], float]) -> None:
        self._most, self._idle, self._clock = most, idle, clock
        self._known: dict[str, Sequence] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def keep(self, most: int, idle: float) -> None:
        """Changes the limits; sequences beyond them are kept until they end or expire."""
        self._most, self._idle = most, idle

    @asynccontextmanager
    async def turn(
        self, name: str, initial: Mapping[str, Array], *, starts: bool, ends: bool
    ) -> AsyncIterator[Sequence]:
        """Waits for the sequence's earlier requests and yields it.

        starts: whether the request is the first one; the sequence gets `initial`, also if it is known. ends:
        whether it is the last one, after which the sequence is dropped, unless the block raises.

        Raises BadRequest for an unknown sequence that does not start, and Overloaded if too many are kept.
        """
        sequence = self._begun(name, initial, starts=starts)
        sequence.asked += 1
        try:
            async with sequence.turn:
                if starts:
                    sequence.state = initial
                yield sequence
                if ends and self._known.get(name) is sequence:
                    del self._known[name]
        finally:
            sequence.asked -= 1
            self._used(name, sequence)

    def _begun(self, name: str, initial: Mapping[str, Array], *, starts: bool) -> Sequence:
        self._expire()
        found = self._known.get(name)
        if found is not None:
            return found
        if not starts:
            raise BadRequest(
                f"parameters.sequence_id: {shown(name)} is not a current sequence here: it has not begun, "
                f"has ended, or had no request for {self._idle:g} s: set sequence_start in its first request"
            )
        if len(self._known) >= self._most:
            raise Overloaded(
                f"parameters.sequence_id: {self._most} sequences are kept already: set sequence_end in the "
                f"last request of each, or retry when one has had no request for {self._idle:g} s",
                _RETRY,
            )
        made = self._known[name] = Sequence(initial)
        return made

    def _used(self, name: str, sequence: Sequence) -> None:
        sequence.used = self._clock()
        if self._known.get(name) is sequence:
            self._known[name] = self._known.pop(name)

    def _expire(self) -> None:
        """Drops expired sequences. Looks at those alone, and at the ones that requests wait for."""
        before = self._clock() - self._idle
        for name, sequence in list(self._known.items()):
            if sequence.asked:
                continue
            if sequence.used > before:
                return
            del self._known[name]
