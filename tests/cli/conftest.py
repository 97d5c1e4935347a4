"""`ei` against the cluster in memory of the operator's tests, in which the operator's own loops run."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_cli import connections
from edge_cli.app import main
from edge_cli.connections import Connection

World = Any  # tests/operator/conftest.py


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit status and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The output as JSON."""
        return json.loads(self.out)


Ei = Callable[..., Ended]


def _operators_tests() -> Any:
    path = Path(__file__).parents[1] / "operator" / "conftest.py"
    spec = importlib.util.spec_from_file_location("operator_tests", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_OPERATOR = _operators_tests()


@pytest.fixture
def world() -> World:
    """A pool of two cameras and a gateway with Triton, a profiled model, and a service."""
    return _OPERATOR.World()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Ei:
    """Runs `ei` without a cluster."""

    def ei(*arguments: str) -> Ended:
        status = main(arguments)
        return Ended(status, *capsys.readouterr())

    return ei


@pytest.fixture
def ei(world: World, run: Ei, monkeypatch: pytest.MonkeyPatch) -> Ei:
    """Runs `ei` with the world's cluster in place of that of a kubeconfig."""
    environment = {
        "EDGE_STORE": world.settings.store_url,
        "EDGE_RUNTIME_IMAGE": world.settings.runtime_image,
    }

    def connect(namespace: str | None, context: str | None, kubeconfig: Path | None) -> Connection:
        return Connection(world.cluster, namespace or "default", None, environment)

    monkeypatch.setattr(connections, "connect", connect)
    return run
