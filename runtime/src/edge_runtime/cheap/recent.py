"""What was used last, in a bounded number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Values by key, of at most `max_bytes` and `most` in number: what was used the longest ago goes first.

    Sizes are the caller's to tell.
    """

    def __init__(self, max_bytes: float, most: int) -> None:
        self._max_bytes, self._most = max_bytes, most
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: Key) -> Value | None:
        """The value, which counts as used now; None when there is none."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: Key, value: Value, size: int) -> None:
        """One more value of `size` bytes, in place of the key's last; one that is too large is not kept."""
        self.forget(key)
        if size > self._max_bytes:
            return
        self._kept[key] = value, size
        self.bytes += size
        self._shrink()

    def forget(self, key: Key) -> None:
        """Nothing is kept for this key any more."""
        if (found := self._kept.pop(key, None)) is not None:
            self.bytes -= found[1]

    def bound(self, max_bytes: float) -> None:
        """Another bound from now on."""
        self._max_bytes = max_bytes
        self._shrink()

    def _shrink(self) -> None:
        while self.bytes > self._max_bytes or len(self._kept) > self._most:
            _, (_, size) = self._kept.popitem(last=False)
            self.bytes -= size
