"""Accuracy metrics and model sources: one more needs nothing but its entry."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from edge_runtime.errors import BadRequest, UnsupportedScheme
from edge_runtime.store import accuracy_metrics, schemes
from edge_runtime.store.accuracy_metrics import METRICS, TOP_1, AccuracyMetric, metric_of
from edge_runtime.store.addresses import Address, in_folder
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.receiving import Receiver
from edge_runtime.store.sources import fetch
from messages import mentions

CLOSE = AccuracyMetric(
    "close",
    labels="one number for each",
    outputs="one number",
    takes=lambda labels, count: labels.shape == (count,) and labels.dtype.kind == "f",
    rates=lambda outputs: outputs.ndim == 1,
    right=lambda outputs, labels: float((np.abs(outputs - labels) < 0.1).mean()),
    alike=lambda outputs, others: float((np.abs(outputs - others) < 0.1).mean()),
)


class Memory(schemes.Source):
    """Bytes that are named by the address itself."""

    scheme = "memory"

    def target(self, uri: str, said: str) -> str:
        return uri.removeprefix("memory://")

    def beside(self, address: Address, location: str) -> Address:
        return in_folder(address, location)

    def read(self, target: str, origin: schemes.Origin, receiver: Receiver, said: str) -> None:
        receiver.write(target.encode())


def test_the_labels_choose_the_metric() -> None:
    metrics = (*METRICS, CLOSE)
    assert metric_of(np.zeros(4, np.int64), 4, metrics) is TOP_1
    assert metric_of(np.zeros(4, np.float32), 4, metrics) is CLOSE
    with pytest.raises(BadRequest, match=mentions("labels are float32", "whole number")):
        metric_of(np.zeros(4, np.float32), 4, accuracy_metrics.METRICS)


def test_the_share_of_right_classes_and_of_agreement() -> None:
    outputs = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)
    assert TOP_1.right(outputs, np.array([1, 1])) == 0.5
    assert TOP_1.alike(outputs, -outputs) == 0.0
    assert not TOP_1.rates(outputs[:, 0])


def test_a_source_that_is_added_is_read_by_its_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Blobs(tmp_path, 1 << 20)
    with pytest.raises(UnsupportedScheme, match="memory"):
        fetch("memory://weights", None, Holdings(blobs))
    monkeypatch.setattr(schemes, "SOURCES", MappingProxyType({**schemes.SOURCES, "memory": Memory()}))
    stored = fetch("memory://weights", None, Holdings(blobs))
    assert blobs.read_blob(stored.digest) == b"weights"
