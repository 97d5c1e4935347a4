"""A model of two inputs and two outputs, without an accuracy, gives onnxruntime's results on every route."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import yaml

from demo import installation
from messages import mentions
from recurrent import NARROW, WIDE, recurrent
from trials import PATIENCE, Trial

ASK = Path(__file__).parents[1] / "support" / "ask_tensors.py"
NAME, NODE = "recurrent", "edge-b"
MEASURED = 600.0

Arrays = Mapping[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "recurrent.onnx"
    path.write_bytes(recurrent())
    return path


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Arrays]:
    """Two files of inputs: of one row and of three."""
    folder, rng = tmp_path_factory.mktemp("requests"), np.random.default_rng(14)
    found: dict[Path, Arrays] = {}
    for rows in (1, 3):
        arrays = {
            "frames": rng.normal(size=(rows, WIDE)).astype(np.float32),
            "state": rng.normal(size=(rows, NARROW)).astype(np.float32),
        }
        np.savez(folder / f"{rows}.npz", frames=arrays["frames"], state=arrays["state"])
        found[folder / f"{rows}.npz"] = arrays
    return found


def manifest(**fields: Any) -> dict[str, Any]:
    spec = {"model": {"storageUri": f"store://{NAME}.onnx"}, "slo": {"latency": "5s"}}
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": spec | {"devicePool": "factory"} | fields,
    }


@pytest.fixture
def served(trial: Trial, model: Path) -> Iterator[Trial]:
    installation.upload(trial.cluster, model, f"{NAME}.onnx")
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest(mode="LocalOnly")))
    try:
        trial.wait("its plan", lambda: trial.condition(NAME, "Planned").get("status") == "True", MEASURED)
        yield trial
    finally:
        trial.cluster.kubectl("delete", "inferenceservice", NAME, "--wait", "--timeout=60s")


def ask(trial: Trial, file: Path, protocol: str) -> tuple[Arrays, dict[str, Any]]:
    entrance = trial.entrance(NODE)
    port = entrance.http if protocol == "http" else entrance.grpc
    argv = [*entrance.prefix, sys.executable, str(ASK), "--protocol", protocol, "--model", NAME]
    argv += ["--address", f"{entrance.host}:{port}", "--inputs", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{NODE} over {protocol}: {done.stderr[-2000:]}\n{trial.state()}"
    response = json.loads(done.stdout)
    outputs = {
        name: np.array(output["values"], dtype=np.float32).reshape(output["shape"])
        for name, output in response["outputs"].items()
    }
    return outputs, response["parameters"]


def table(trial: Trial) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = trial.get("placement", f"{NAME}.{NODE}")["spec"]["routes"]
    return found


def loaded(trial: Trial, fields: Mapping[str, Any]) -> bool:
    body = trial.get("placement", f"{NAME}.{NODE}")
    status = body.get("status", {})
    return (
        all(body["spec"].get(name) == value for name, value in fields.items())
        and bool(status.get("loaded"))
        and status.get("observedGeneration") == body["metadata"]["generation"]
    )


def check_responses(trial: Trial, model: Path, requests: Mapping[Path, Arrays], cut: str) -> None:
    """Both outputs of both requests over both protocols, by a route with this cut, are onnxruntime's."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for file, arrays in requests.items():
        speech, state = session.run(["speech", "stateN"], dict(arrays))
        for protocol in ("http", "grpc"):

            def answered(file: Path = file, protocol: str = protocol) -> bool:
                return bool(ask(trial, file, protocol)[1]["cut"] == cut)

            trial.wait(f"a response over {protocol} by the cut {cut}", answered, PATIENCE)
            outputs, parameters = ask(trial, file, protocol)
            assert list(outputs) == ["speech", "stateN"], parameters
            np.testing.assert_allclose(outputs["speech"], speech, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(outputs["stateN"], state, rtol=1e-3, atol=1e-4)


def test_every_route_gives_both_outputs_of_a_model_without_an_accuracy(
    served: Trial, model: Path, requests: Mapping[Path, Arrays]
) -> None:
    ready = served.condition(NAME, "ModelReady")
    assert mentions("final", "no accuracy stated").search(ready["message"])
    ways: list[tuple[dict[str, Any], str]] = [
        ({"mode": "LocalOnly", "privacy": "Any"}, "local"),
        ({"mode": "CloudOnly", "privacy": "Any"}, "frames+state"),
    ]
    for fields, cut in ways:
        served.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest(**fields)))
        served.wait(f"the table of {fields}", partial(loaded, served, fields))
        assert {route["cut"] for route in table(served)} == {cut}
        check_responses(served, model, requests, cut)


def test_a_cut_carries_the_state_that_its_tail_needs(
    served: Trial, model: Path, requests: Mapping[Path, Arrays]
) -> None:
    """The entry node is slow, and the frames are too many for the link: the head alone runs there."""
    fields = {"mode": "PartitionOnly", "privacy": "Any"}
    served.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest(**fields)))
    served.wait("the table", lambda: loaded(served, fields))
    profile = served.get("modelprofile", NAME)["spec"]["model"]
    (exit_,) = profile["exits"]
    assert (exit_["outputs"], exit_.get("accuracy")) == (["speech", "stateN"], None)
    sizes = {cut["tensor"]: cut["bytes"] for cut in exit_["cuts"]}
    assert sizes["frames+state"] == 4 * (WIDE + NARROW)
    assert sizes["state+h"] == 4 * 2 * NARROW
    cuts = {route["cut"] for route in table(served)} - {"local", "frames+state"}
    assert cuts, table(served)
    for route in table(served):
        if route["cut"] in cuts:
            sent = [tensor["name"] for tensor in route["stages"][-1]["slice"]["inputs"]]
            assert sent == route["cutTensors"]
    check_responses(served, model, requests, table(served)[0]["cut"])
