"""Models with open dimensions: served on every route at any shape, and locally while shapes are unknown."""

import contextlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import yaml
from onnx import helper, numpy_helper

from demo import installation
from edge_api.quantities import parse_duration
from networks import info, model_of
from trials import GATEWAY, Trial

ASK = Path(__file__).parents[1] / "support" / "ask_array.py"
NAME, STORED_AT = "maps", "maps/maps.onnx"
SHAPES = ((1, 3, 64, 64), (1, 3, 128, 96), (1, 3, 192, 160))
INPUTS = [{"name": "x", "typicalShape": list(SHAPES[0]), "maxShape": list(SHAPES[-1])}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose map of scores is as large as the image says, like that of a text detector."""
    random = np.random.default_rng(1)
    halve: dict[str, Any] = {"pads": [1, 1, 1, 1], "strides": [2, 2]}
    weights = {"w1": (16, 3, 3, 3), "w2": (8, 16, 3, 3), "w3": (1, 8, 3, 3)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], **halve),
        helper.make_node("Conv", ["c1", "w2"], ["c2"], **halve),
        helper.make_node("Conv", ["c2", "w3"], ["c3"], **halve),
        helper.make_node("Sigmoid", ["c3"], ["scores"]),
    ]
    values = [
        numpy_helper.from_array((random.normal(size=shape) / 9).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    file = tmp_path_factory.mktemp("maps") / "maps.onnx"
    inputs, outputs = [info("x", "N", 3, "H", "W")], [info("scores", "N", 1, "h", "w")]
    file.write_bytes(model_of(nodes, inputs, outputs, values))
    return file


@contextlib.contextmanager
def served(trial: Trial, model: Path, **fields: Any) -> Iterator[None]:
    """The model as a service of the example's pool, Ready at its nodes."""
    installation.upload(trial.cluster, model, STORED_AT)
    apply(trial, **fields)
    try:
        trial.wait("Ready", lambda: trial.condition(NAME, "Ready").get("status") == "True", 300)
        yield
    finally:
        trial.cluster.kubectl("delete", "inferenceservice", NAME, "--wait", "--timeout=120s")


def apply(trial: Trial, inputs: list[dict[str, Any]] | None = None, mode: str = "") -> None:
    """Applies the manifest with the three fields that each needs, and with these."""
    source = {"storageUri": f"store://{STORED_AT}"}
    manifest = {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {
            "model": source | ({"inputs": inputs} if inputs is not None else {}),
            "slo": {"latency": "2s"},
            "devicePool": "factory",
            **({"mode": mode} if mode else {}),
        },
    }
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest))


def placement(trial: Trial) -> dict[str, Any]:
    return trial.get("placement", f"{NAME}.{GATEWAY}")


def in_use(trial: Trial, mode: str) -> bool:
    """Whether the entry node has loaded the table of a mode."""
    found = placement(trial)
    status = found.get("status", {})
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    return bool(found["spec"].get("mode", "Auto") == mode and current and status.get("loaded"))


def picture(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(shape[-1]).normal(size=shape).astype(np.float32)


def ask(trial: Trial, folder: Path, shape: tuple[int, ...]) -> tuple[dict[str, Any], npt.NDArray[np.float32]]:
    """The parameters and the result of a request at the entry node."""
    np.save(folder / "x.npy", picture(shape))
    entrance = trial.entrance(GATEWAY)
    argv = [*entrance.prefix, sys.executable, str(ASK), "--address", f"{entrance.host}:{entrance.http}"]
    argv += ["--model", NAME, "--input", "x", "--output", "scores", "--array", str(folder / "x.npy")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stderr[-2000:]}\n{trial.state()}"
    answer = json.loads(done.stdout)
    return answer["parameters"], np.array(answer["values"], np.float32).reshape(answer["shape"])


def check(trial: Trial, model: Path, folder: Path) -> set[str]:
    """Checks a response at each shape against onnxruntime's; returns the cuts of the routes."""
    session, cuts = onnxruntime.InferenceSession(model), set()
    for shape in SHAPES:
        parameters, values = ask(trial, folder, shape)
        (right,) = session.run(["scores"], {"x": picture(shape)})
        assert values.shape == right.shape
        np.testing.assert_allclose(values, right, rtol=1e-3, atol=1e-5)
        cuts.add(str(parameters["cut"]))
    return cuts


def test_every_kind_of_route_answers_at_three_shapes_as_onnxruntime(
    trial: Trial, model: Path, tmp_path: Path
) -> None:
    with served(trial, model, inputs=INPUTS):
        assert "planned for x=1x3x192x160" in trial.condition(NAME, "Planned")["message"]
        costs = trial.get("modelprofile", NAME)["spec"]["deviceClasses"]
        for device_class in costs:
            sizes = [shape["inputs"][0]["shape"] for shape in device_class["shapes"]]
            assert sizes[0] == list(SHAPES[0])
            assert sizes[-1] == list(SHAPES[-1])
        shapes = placement(trial)["spec"]["shapes"]
        assert shapes["planned"] == [{"name": "x", "shape": list(SHAPES[-1])}]
        used = check(trial, model, tmp_path)
        for mode in ("LocalOnly", "CloudOnly", "PartitionOnly"):
            apply(trial, INPUTS, mode)
            trial.wait(f"the table of {mode}", partial(in_use, trial, mode))
            used |= check(trial, model, tmp_path)
        assert {"local", "x"} <= used


def has_learned(trial: Trial, shape: Sequence[int]) -> bool:
    """Whether the status states this largest shape, and the model is measured."""
    learned = trial.get("inferenceservice", NAME)["status"].get("model", {}).get("inputs", [])
    return trial.condition(NAME, "Profiled").get("reason") == "Measured" and (
        [each["maxShape"] for each in learned] == [list(shape)]
    )


def is_planned_at(trial: Trial, shape: Sequence[int]) -> bool:
    """Whether the table was planned with times up to this shape."""
    measured = (placement(trial)["spec"].get("shapes") or {}).get("measured") or []
    return [each["inputs"][0]["shape"] for each in measured[-1:]] == [list(shape)]


def test_without_shapes_requests_are_served_locally_and_the_condition_says_what_to_write(
    trial: Trial, model: Path, tmp_path: Path
) -> None:
    with served(trial, model):
        condition = trial.condition(NAME, "Profiled")
        assert condition["reason"] == "ShapesUnknown"
        assert "spec.model.inputs: [{name: x, shape: [1, 3, <H>, <W>]}]" in condition["message"]
        assert [route["cut"] for route in placement(trial)["spec"]["routes"]] == ["local"]
        assert check(trial, model, tmp_path) == {"local"}
        # Runtimes report these shapes, in several reports maybe, and the model is measured there.
        trial.wait("the largest shape", partial(has_learned, trial, SHAPES[-1]), 300)
        trial.wait("its table", partial(is_planned_at, trial, SHAPES[-1]), 300)
        for mode in ("LocalOnly", "CloudOnly"):
            apply(trial, mode=mode)
            trial.wait(f"the table of {mode}", partial(in_use, trial, mode))
            check(trial, model, tmp_path)
        spec = placement(trial)["spec"]
        measured = [each["inputs"][0]["shape"] for each in spec["shapes"]["measured"]]
        assert measured[-1] == list(SHAPES[-1])
        (stage,) = spec["routes"][0]["stages"]
        assert stage["bytesAt"] == [4 * math.prod(shape) + response(shape) for shape in measured]
        times = [parse_duration(each) for each in stage["computeAt"]]
        assert times == sorted(times)
        assert times[0] < times[-1]


def response(shape: list[int]) -> int:
    """The bytes of the map of scores, which cross the link if they are more than a few packets."""
    size = 4 * math.prod(math.ceil(side / 8) for side in shape[2:])
    return size if size > 4096 else 0
