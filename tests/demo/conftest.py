"""Shared fixtures of the demo's tests: the training script as a module, and a synthetic result."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from demo.phases import planned
from demo.reports import DemoResult, ModeResult, PhaseResult
from demo.statistics import LinkSample, RequestResult
from demo.training import SCRIPT, TrainedModel, Training

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def script() -> ModuleType:
    """examples/01-digits/train.py, imported."""
    spec = importlib.util.spec_from_file_location("digits_train", ROOT / "examples/01-digits/train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["digits_train"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def model() -> TrainedModel:
    """The trained model: from the cache, or trained now, which takes two minutes once."""
    return Training(ROOT / SCRIPT, ROOT / ".cache", lambda line: None).run()


def results(node: str, began: float, exit_: str, cut: str, latencies: list[float]) -> list[RequestResult]:
    """Correct responses, one every 0.1 s."""
    return [
        RequestResult(node, began + 0.1 * index, latency, True, exit_, cut)
        for index, latency in enumerate(latencies)
    ]


@pytest.fixture
def result() -> DemoResult:
    """Two modes: Auto loses nothing and cuts deeper with less bandwidth, CloudOnly fails while cut off."""
    routes = [("exit5", "pool1"), ("exit5", "reduce2"), ("exit5", "reduce2"), ("exit3", "local")]
    routes += [("exit3", "local"), ("exit5", "pool1")]
    auto, cloud = [], []
    for phase, (exit_, cut) in zip(planned(2.0), routes, strict=True):
        began = 10 + 2.0 * phase.index
        link = [LinkSample("edge-a", began + 1, phase.link_bps or None)]
        served = results("edge-a", began, exit_, cut, [0.02, 0.03, 0.2])
        auto.append(PhaseResult(phase, began, served, link))
        lost = [RequestResult("edge-a", began, 1.0, error="503 <b>cloud</b> is out of reach")]
        reached = results("edge-a", began, "exit5", "image", [0.05])
        cloud.append(PhaseResult(phase, began, reached if phase.link_bps else lost, link))
    modes = [
        ModeResult("Auto", auto, [sample for phase in auto for sample in phase.link]),
        ModeResult("CloudOnly", cloud),
    ]
    return DemoResult(modes, 0.1, 61.0, 24.0, {"cluster": 31.2})
