"""Which execution provider runs sessions, and that one more needs nothing but its entry."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest

from edge_runtime.inference import sessions
from edge_runtime.inference.providers import CPU, PROVIDERS, Provider, in_order, preferred
from edge_runtime.inference.sessions import Session
from edge_runtime.slicing import Graph

OTHER = Provider("AzureExecutionProvider")  # in every wheel of onnxruntime; leaves all operators to the CPU


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    sessions.provider.cache_clear()
    monkeypatch.setattr(sessions, "preferred", lambda available: preferred(available, (OTHER, CPU)))
    yield OTHER
    sessions.provider.cache_clear()


def test_the_cpu_is_taken_without_asking_onnxruntime() -> None:
    def asked() -> list[str]:
        raise AssertionError

    assert preferred(asked, (CPU,)) is CPU
    assert PROVIDERS[-1].built_in


def test_the_first_available_provider_is_taken() -> None:
    assert preferred(lambda: ["Fast", OTHER.name], (OTHER, CPU)) is OTHER
    assert preferred(lambda: ["Fast"], (OTHER, CPU)) is CPU
    assert in_order(CPU) == [(CPU.name, {})]


def test_sessions_run_on_a_provider_that_is_added(other: Provider, chain_model: bytes) -> None:
    assert OTHER.name in onnxruntime.get_available_providers()
    assert sessions.provider() is other
    graph = Graph(chain_model)
    ends = ["image"], ["logits"]
    session = Session(graph.slice(*ends), *graph.contract(*ends))
    assert session.providers == [OTHER.name, CPU.name]
    image = np.zeros((1, 1, 16, 16), np.float32)
    assert session.run({"image": image})[0].shape == (1, 10)
