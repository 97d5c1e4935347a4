"""A model that refuses generated inputs gets its plan after requests were sent, and no request fails."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml

from demo import installation
from messages import mentions
from pairs import PAIR, paired
from trials import Trial

ASK = Path(__file__).parents[1] / "support" / "ask_tensors.py"
NAME = "pairs"
NODES = ("edge-a", "edge-b")
"""An entry node of each device class."""
MEASURED = 600.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "pairs.onnx"
    path.write_bytes(paired(width=256))
    return path


@pytest.fixture(scope="module")
def request_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("request") / "pair.npz"
    np.savez(path, first=PAIR["first"], second=PAIR["second"])
    return path


@pytest.fixture
def served(trial: Trial, model: Path) -> Iterator[Trial]:
    """The model as a service of the example's pool, without a plan."""
    installation.upload(trial.cluster, model, f"{NAME}.onnx")
    manifest = {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {
            "model": {"storageUri": f"store://{NAME}.onnx"},
            "slo": {"latency": "2s"},
            "devicePool": "factory",
        },
    }
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest))
    try:
        trial.wait("Ready", lambda: trial.condition(NAME, "Ready").get("status") == "True", MEASURED)
        yield trial
    finally:
        trial.cluster.kubectl("delete", "inferenceservice", NAME, "--wait", "--timeout=120s")


def ask(trial: Trial, node: str, file: Path) -> dict[str, Any]:
    """The outputs of a request at an entry node."""
    entrance = trial.entrance(node)
    argv = [*entrance.prefix, sys.executable, str(ASK), "--protocol", "http", "--model", NAME]
    argv += ["--address", f"{entrance.host}:{entrance.http}", "--inputs", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{node}: {done.stderr[-2000:]}\n{trial.state()}"
    found: dict[str, Any] = json.loads(done.stdout)["outputs"]
    return found


def test_a_model_that_refuses_generated_inputs_is_planned_after_its_first_requests(
    served: Trial, model: Path, request_file: Path
) -> None:
    asked_for = mentions("spec.model.samples", *NODES)
    # The gateway's class is tried before the cameras'.
    refused = lambda: bool(asked_for.search(served.condition(NAME, "Profiled")["message"]))  # noqa: E731
    served.wait("both classes refused", refused, MEASURED)
    assert served.condition(NAME, "Profiled")["reason"] == "InputsRefused"
    (right,) = onnxruntime.InferenceSession(model).run(["scores"], PAIR)

    def check() -> None:
        for node in NODES:
            found = ask(served, node, request_file)["scores"]
            np.testing.assert_allclose(found["values"], right.ravel(), rtol=1e-3, atol=1e-4)

    check()
    served.wait("a plan", lambda: served.condition(NAME, "Planned").get("status") == "True", MEASURED)
    costs = {c["name"]: c for c in served.get("modelprofile", NAME)["spec"]["deviceClasses"]}
    assert {costs[name]["measuredOn"] for name in ("camera", "gateway")} == {"Requests"}
    # Inputs of requests do not leave their nodes, so nothing is known of the server.
    assert mentions("on the inputs of requests", "cloud").search(
        served.condition(NAME, "Profiled")["message"]
    )
    for node in NODES:
        spec = served.get("placement", f"{NAME}.{node}")["spec"]
        assert "firstRequests" not in spec
        assert spec["routes"][-1]["predictedLatency"] != "0s"
    check()
