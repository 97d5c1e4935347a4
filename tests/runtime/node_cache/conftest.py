"""Model stores with and without tokens, in front of which tests start caches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.store.callers import TokenHolders
from node_caches import Known, Place, place


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Place]:
    """A store that requires tokens."""
    with place(tmp_path, TokenHolders(Known())) as found:
        yield found


@pytest.fixture
def open_to_all(tmp_path: Path) -> Iterator[Place]:
    """A store that requires no tokens."""
    with place(tmp_path, None) as found:
        yield found
