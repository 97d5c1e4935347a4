"""Which execution provider runs sessions, and that one more needs nothing but its entry."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
from prometheus_client import generate_latest

from edge_runtime.errors import BadRequest
from edge_runtime.inference import sessions
from edge_runtime.inference.providers import CPU, PROVIDERS, VARIABLE, Provider, in_order, preferred, wanted
from edge_runtime.inference.sessions import Session
from edge_runtime.metrics import ProcessMetrics
from edge_runtime.slicing import Graph
from messages import mentions

# In every wheel of onnxruntime; it leaves all operators to the CPU.
OTHER = Provider("AzureExecutionProvider", "Azure")


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    sessions.provider.cache_clear()
    monkeypatch.setattr(sessions, "wanted", lambda labels: (OTHER, CPU))
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


def test_the_variable_lists_providers_and_the_cpu_is_the_last() -> None:
    assert [each.label for each in wanted("TensorRT, CUDA")] == ["TensorRT", "CUDA", "CPU"]
    assert wanted("CPU,OpenVINO")[0] is CPU
    assert wanted("") == (CPU,)
    with pytest.raises(BadRequest, match=mentions("EDGE_EXECUTION_PROVIDERS", '"Tpu"', "OpenVINO")):
        wanted("Tpu,CPU")


def test_the_cpu_stands_in_for_a_provider_that_is_missing_and_it_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, "CUDA,CPU")
    sessions.provider.cache_clear()
    try:
        assert sessions.provider() is CPU
        assert sessions.provider_fallback()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "no CUDA: CPU is used" in caplog.text
        text = generate_latest(ProcessMetrics("cam").registry).decode()
        assert 'edge_execution_provider{fallback="true",provider="CPU",service="cam"} 1.0' in text
    finally:
        sessions.provider.cache_clear()


def test_sessions_run_on_a_provider_that_is_added(other: Provider, chain_model: bytes) -> None:
    assert OTHER.name in onnxruntime.get_available_providers()
    assert sessions.provider() is other
    graph = Graph(chain_model)
    ends = ["image"], ["logits"]
    session = Session(graph.slice(*ends), *graph.contract(*ends))
    assert session.providers == [OTHER.name, CPU.name]
    image = np.zeros((1, 1, 16, 16), np.float32)
    assert session.run({"image": image})[0].shape == (1, 10)
