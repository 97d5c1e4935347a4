"""ONNX Runtime's OpenVINO execution provider gives the results of the CPU's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed import openvino
from testbed.layout import Layout

pytestmark = pytest.mark.openvino

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Of processes with the package."""
    return openvino.environment(openvino.install(Layout.of_checkout(ROOT)), os.environ)


def compared(environment: dict[str, str], **more: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the report of the benchmark that compares a chain of convolutions with the CPU."""
    argv = [sys.executable, "-m", "benchmarks.execution_providers"]
    done = subprocess.run(
        argv, cwd=ROOT, env=environment | more, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout, done.stderr[-2000:]
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_its_results_are_those_of_the_cpu(environment: dict[str, str]) -> None:
    status, report = compared(environment)
    assert (status, report["provider"], report["fallback"]) == (0, "OpenVINO", False)
    assert report["difference"] <= 1e-3


def test_a_provider_that_the_package_lacks_is_replaced_by_the_cpu_and_reported(
    environment: dict[str, str],
) -> None:
    status, report = compared(environment, EDGE_EXECUTION_PROVIDERS="CUDA,CPU")
    assert (status, report["provider"], report["fallback"]) == (1, "CPU", True)


def test_a_file_is_profiled_on_it(environment: dict[str, str], chain_model: bytes, tmp_path: Path) -> None:
    file = tmp_path / "chain.onnx"
    file.write_bytes(chain_model)
    argv = [sys.executable, "-m", "edge_runtime.cli", "profile", str(file), "--seconds", "0.05"]
    done = subprocess.run(
        [*argv, "--format", "json"], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["exits"]
