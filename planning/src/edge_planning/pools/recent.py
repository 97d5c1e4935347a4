"""A mapping that forgets."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values that were used last, at most `size` of them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._values: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        """Returns a value, which then counts as the one that was used last."""
        value = self._values.pop(key, None)
        if value is not None:
            self._values[key] = value
        return value

    def put(self, key: Key, value: Value) -> Value:
        """Keeps a value, and returns it."""
        self._values[key] = value
        if len(self._values) > self.size:
            del self._values[next(iter(self._values))]
        return value
