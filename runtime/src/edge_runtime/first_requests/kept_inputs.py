"""The inputs of the first requests, in memory alone: bounded in number and bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from edge_runtime.samples.reading import plain
from edge_runtime.tensors import Array, Tensor, size_of

MOST: Final = 8
"""Requests whose inputs are kept."""
MOST_BYTES: Final = 64 << 20
"""Bytes of all inputs that are kept."""


class KeptInputs:
    """The first item of each of the first requests, all of the shape of the first one."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._inputs: Sequence[Tensor] = ()
        self._feeds: list[dict[str, Array]] = []

    def __len__(self) -> int:
        return len(self._feeds)

    def add(self, inputs: Sequence[Tensor], arrays: Mapping[str, Array]) -> bool:
        """Copies the inputs of a request, unless enough are kept; returns whether it did."""
        if len(self._feeds) >= MOST:
            return False
        items = {t.name: arrays[t.name][:1] if t.has_batch else arrays[t.name] for t in inputs}
        size = sum(size_of(t, items[t.name]) for t in inputs)
        if self._bytes + size > self._most_bytes or not self._fits(items):
            return False
        self._inputs, self._bytes = inputs, self._bytes + size
        self._feeds.append({name: np.array(array) for name, array in items.items()})
        return True

    def _fits(self, items: Mapping[str, Array]) -> bool:
        """Whether a request has items of the same shapes: one file holds them all."""
        if not self._feeds:
            return all(array.size for array in items.values())
        first = self._feeds[0]
        return all(first[name].shape == array.shape for name, array in items.items())

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each input of a request with one item; none without requests."""
        return {name: array.shape for name, array in self._feeds[0].items()} if self._feeds else {}

    def file(self) -> bytes:
        """The inputs as an .npz file of samples (`edge_runtime.samples.reading`)."""
        target = io.BytesIO()
        arrays: dict[str, Any] = {t.name: self._stacked(t) for t in self._inputs}
        np.savez(target, **arrays)
        return target.getvalue()

    def clear(self) -> None:
        """Forgets all inputs."""
        self._feeds, self._bytes = [], 0

    def _stacked(self, tensor: Tensor) -> Array:
        """The samples of an input, one after the other along its open first dimension, else along another."""
        samples = [plain(feed[tensor.name]) for feed in self._feeds]
        if tensor.any_rank:
            return samples[0]
        return np.concatenate(samples) if tensor.shape[:1] == (-1,) else np.stack(samples)
