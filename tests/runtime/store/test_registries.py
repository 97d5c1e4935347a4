"""Model sources: one more needs nothing but its entry."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from edge_runtime.errors import UnsupportedScheme
from edge_runtime.store import schemes
from edge_runtime.store.addresses import Address, in_folder
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.receiving import Receiver
from edge_runtime.store.sources import fetch


class Memory(schemes.Source):
    """Bytes that are named by the address itself."""

    scheme = "memory"

    def target(self, uri: str, said: str) -> str:
        return uri.removeprefix("memory://")

    def beside(self, address: Address, location: str) -> Address:
        return in_folder(address, location)

    def read(self, target: str, origin: schemes.Origin, receiver: Receiver, said: str) -> None:
        receiver.write(target.encode())


def test_a_source_that_is_added_is_read_by_its_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Blobs(tmp_path, 1 << 20)
    with pytest.raises(UnsupportedScheme, match="memory"):
        fetch("memory://weights", None, Holdings(blobs))
    monkeypatch.setattr(schemes, "SOURCES", MappingProxyType({**schemes.SOURCES, "memory": Memory()}))
    stored = fetch("memory://weights", None, Holdings(blobs))
    assert blobs.read_blob(stored.digest) == b"weights"
