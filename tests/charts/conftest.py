"""The chart as rendered by helm."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.binaries import PROGRAMS, Binaries
from testbed.layout import Layout

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "edge-intelligence"
Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Runs helm, found or built like the testbed's binaries."""
    binaries = Binaries(Layout.of_checkout(ROOT).binaries, lambda line: print(line))
    program = next(each for each in PROGRAMS if each.name == "helm")
    path = binaries.find(program) or binaries.all()["helm"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(path), *arguments], capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """The objects of `helm template` with `--set` for each argument; fails with helm's message."""

    def objects(*values: str, crds: bool = False, version: str = "1.34.2") -> list[dict[str, Any]]:
        arguments = [
            "template",
            "test",
            str(CHART),
            "--namespace",
            "edge-intelligence",
            "--kube-version",
            version,
        ]
        arguments += ["--include-crds"] if crds else []
        done = helm(*arguments, *(part for value in values for part in ("--set", value)))
        assert done.returncode == 0, done.stderr
        return [body for body in yaml.safe_load_all(done.stdout) if body]

    return objects
