"""A text recognizer and a voice detector that people run, served by a manifest of three fields."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.models.catalogue import ModelFile, catalogue
from benchmarks.models.inputs import measured_feeds, save_samples
from benchmarks.models.truth import Truth
from demo import installation
from demo.testbed_cluster import NODES
from trials import GATEWAY, Trial

pytestmark = pytest.mark.extended

MEASURED = 900.0
MODES = ("LocalOnly", "CloudOnly", "PartitionOnly", "Auto")


def manifest(name: str, mode: str = "", **model: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "model": {"storageUri": f"store://{name}/model.onnx", **model},
        "slo": {"latency": "5s"},
        "devicePool": "factory",
    }
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec | ({"mode": mode} if mode else {}),
    }


def apply(trial: Trial, name: str, mode: str = "", **model: Any) -> None:
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest(name, mode, **model)))


@contextmanager
def served(trial: Trial, model: ModelFile) -> Iterator[None]:
    installation.upload(trial.cluster, model.path, f"{model.name}/model.onnx")
    apply(trial, model.name)
    try:
        with trial.unlimited():
            trial.wait(
                "Ready", lambda: trial.condition(model.name, "Ready").get("status") == "True", MEASURED
            )
            yield
    finally:
        trial.cluster.kubectl("delete", "inferenceservice", model.name, "--wait", "--timeout=120s")


def ask(trial: Trial, model: ModelFile, route: str = "", node: str = GATEWAY) -> list[dict[str, Any]]:
    """Compares a response at each shape with onnxruntime's; waits for the route, if one is given."""
    entrance = trial.entrance(node)
    argv = [*entrance.prefix, sys.executable, "-m", "benchmarks.models.asking", model.name, entrance.host]
    done = subprocess.run(
        [*argv, model.name, "--route", route], capture_output=True, text=True, cwd=trial.root, check=False
    )
    assert done.returncode == 0, f"{done.stderr[-2000:]}\n{trial.state()}"
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert [each["wrong"] for each in found] == [""] * len(found)
    return found


def in_use(trial: Trial, name: str, mode: str) -> bool:
    body = trial.get("placement", f"{name}.{GATEWAY}")
    status = body.get("status", {})
    current = status.get("observedGeneration") == body["metadata"]["generation"]
    return bool(body["spec"].get("mode", "Auto") == mode and current and status.get("loaded"))


def planned_from_requests(trial: Trial, model: ModelFile) -> bool:
    """Whether the local routes are planned; until then, sends requests to all entry nodes."""
    if trial.condition(model.name, "Planned").get("reason") == "Planned":
        return True
    for node in NODES:
        ask(trial, model, node=node.name)
    return False


def check_every_table(trial: Trial, model: ModelFile, **more: Any) -> None:
    """The responses of the first route of each mode's table equal onnxruntime's at every shape."""
    for mode in MODES:
        apply(trial, model.name, mode, **more)
        trial.wait(f"the table of {mode}", partial(in_use, trial, model.name, mode))
        first = trial.get("placement", f"{model.name}.{GATEWAY}")["spec"]["routes"][0]["name"]
        reached = {each["reached"] for each in ask(trial, model, first)}
        assert reached == {first} or mode == "Auto", f"{mode}: {reached}, not {first}\n{trial.state()}"


def test_a_text_recognizer_is_planned_from_its_first_requests(trial: Trial) -> None:
    (model,) = [each for each in catalogue(["ocr-recognition"]) if each.name == "ocr-recognition"]
    with served(trial, model):
        assert trial.condition(model.name, "Planned")["reason"] == "ShapesUnknown"
        shapes = [each["shape"]["x"] for each in ask(trial, model)]
        trial.wait(
            "its plan", lambda: trial.condition(model.name, "Profiled").get("reason") == "Measured", MEASURED
        )
        check_every_table(trial, model)
        profile = trial.get("modelprofile", model.name)["spec"]
        (exit_,) = profile["model"]["exits"]
        source = next(cut for cut in exit_["cuts"] if cut["tensor"] == "x")
        measured = [each["inputs"][0]["shape"] for each in profile["model"]["shapes"]]
        assert measured[-1] == shapes[-1]
        assert source["bytesAt"] == [4 * 3 * 48 * shape[3] for shape in measured]
        # As many characters as the image is wide, each with scores of all characters: the file tells neither.
        small, large = exit_["responseBytesAt"][0], exit_["responseBytesAt"][-1]
        assert large / small == pytest.approx(measured[-1][3] / measured[0][3], rel=0.05)


def test_a_voice_detector_carries_its_state_on_every_route(trial: Trial, tmp_path: Path) -> None:
    (model,) = [each for each in catalogue(["silero"]) if each.name == "silero"]
    with served(trial, model):
        # Its sampling rate decides what it computes, so that each class is measured on its requests.
        found = ask(trial, model)
        assert [each["shape"]["state"] for each in found] == [[2, 1, 128]] * 3
        trial.wait("a plan of local routes", partial(planned_from_requests, trial, model), MEASURED)
        # No request reaches Triton before it is measured: samples take their place.
        samples = tmp_path / "samples.npz"
        save_samples(samples, measured_feeds(model.inputs, Truth(model.path).dtypes)[-1])
        installation.upload(trial.cluster, samples, f"{model.name}/samples.npz")
        more: dict[str, Any] = {"samples": {"storageUri": f"store://{model.name}/samples.npz"}}
        apply(trial, model.name, **more)
        trial.wait(
            "its plan", lambda: trial.condition(model.name, "Profiled").get("reason") == "Measured", MEASURED
        )
        check_every_table(trial, model, **more)
