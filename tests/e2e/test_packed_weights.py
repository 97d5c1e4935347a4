"""A node with little memory by its pool serves a model without packed weights, and packs them again later."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml
from onnx import helper, numpy_helper

from command_line import document
from demo import installation
from edge_operator.names import DEMAND_ANNOTATION
from networks import info, model_of
from trials import GATEWAY, Trial

ASK = Path(__file__).parents[1] / "support" / "ask_array.py"
NAME, STORED_AT = "wide", "wide/wide.onnx"
POOL, CLASS = "factory", "gateway"
CHANNELS, LAYERS = 256, 8
SHAPE = (1, CHANNELS, 8, 8)
MEASURED = 600.0
STEPS = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions with weights of 19 MB, which packing holds twice."""
    random = np.random.default_rng(3)
    nodes, weights, before = [], [], "x"
    for number in range(LAYERS):
        array = random.normal(0, 0.02, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(array, f"w{number}"))
        after = "y" if number == LAYERS - 1 else f"c{number}"
        nodes.append(helper.make_node("Conv", [before, f"w{number}"], [after], pads=[1, 1, 1, 1]))
        before = after
    file = tmp_path_factory.mktemp("wide") / "wide.onnx"
    sizes = ("N", CHANNELS, 8, 8)
    file.write_bytes(model_of(nodes, [info("x", *sizes)], [info("y", *sizes)], weights))
    return file


@pytest.fixture
def served(trial: Trial, model: Path) -> Iterator[Trial]:
    """The model as a service at the gateway alone, Ready."""
    manifest = {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {
            "model": {"storageUri": f"store://{STORED_AT}"},
            "slo": {"latency": "5s"},
            "devicePool": POOL,
            "mode": "LocalOnly",
            "entryNodes": {"nodeSelector": {"kubernetes.io/hostname": GATEWAY}},
        },
    }
    installation.upload(trial.cluster, model, STORED_AT)
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest))
    try:
        trial.wait("Ready", lambda: trial.condition(NAME, "Ready").get("status") == "True", MEASURED)
        yield trial
    finally:
        trial.cluster.kubectl("delete", "inferenceservice", NAME, "--wait", "--timeout=120s")


def placement(trial: Trial) -> dict[str, Any]:
    return trial.get("placement", f"{NAME}.{GATEWAY}")


def loaded(trial: Trial, *, packed: bool) -> bool:
    """Whether the runtime has loaded a table with this choice, and reports what it does not pack."""
    found = placement(trial)
    (stage,) = found["spec"]["routes"][0]["stages"]
    status = found.get("status", {})
    current = status.get("observedGeneration") == found["metadata"]["generation"] and status.get("loaded")
    unpacked = [] if packed else [stage["slice"]["digest"]]
    return bool(current and stage["packed"] is packed and status.get("unpacked", []) == unpacked)


def explained(trial: Trial) -> dict[str, Any]:
    (entry,) = document(trial, "explain", NAME, "-n", "default")["entries"]
    return dict(entry)


def declare(trial: Trial, memory: int | None) -> None:
    """Writes the memory of the gateways' group; None removes it."""
    groups = trial.get("devicepool", POOL)["spec"]["nodes"]
    for group in groups:
        if group["deviceClass"] == CLASS:
            group.pop("memory", None)
            if memory is not None:
                group["memory"] = str(memory)
    patch = json.dumps({"spec": {"nodes": groups}})
    trial.cluster.kubectl("patch", "devicepool", POOL, "--type=merge", "-p", patch)


def squeeze(trial: Trial, memory: float, saving: float) -> None:
    """Declares less and less memory until the plan gives up packed weights.

    memory: what all services need with them, by `ei explain`; an operator that has restarted can have tables
    with other needs. saving: bytes by which the demand falls without them.
    """
    for _ in range(STEPS):
        memory -= saving / 2
        before = noted(trial)
        declare(trial, round(memory))
        trial.wait("a plan with the declared memory", lambda: noted(trial) != before)  # noqa: B023
        (stage,) = placement(trial)["spec"]["routes"][0]["stages"]
        if not stage["packed"]:
            return
    raise AssertionError(
        f"packed with {memory:g} bytes declared: {json.dumps(explained(trial))}\n{trial.state()}"
    )


def noted(trial: Trial) -> str:
    """What tells the demand that the table was planned for from others, such as one with less memory."""
    return str(placement(trial)["metadata"]["annotations"][DEMAND_ANNOTATION])


def response(trial: Trial, folder: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    x = np.random.default_rng(4).normal(size=SHAPE).astype(np.float32)
    np.save(folder / "x.npy", x)
    entrance = trial.entrance(GATEWAY)
    argv = [*entrance.prefix, sys.executable, str(ASK), "--address", f"{entrance.host}:{entrance.http}"]
    argv += ["--model", NAME, "--input", "x", "--output", "y", "--array", str(folder / "x.npy")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stderr[-2000:]}\n{trial.state()}"
    answer = json.loads(done.stdout)
    return np.array(answer["values"], np.float32).reshape(answer["shape"])


def test_packing_is_given_up_where_the_pool_declares_too_little_memory_for_it(
    served: Trial, model: Path, tmp_path: Path
) -> None:
    trial = served
    x = np.random.default_rng(4).normal(size=SHAPE).astype(np.float32)
    (right,) = onnxruntime.InferenceSession(model).run(["y"], {"x": x})
    classes = trial.get("modelprofile", NAME)["spec"]["deviceClasses"]
    measured = next(each["packing"] for each in classes if each["name"] == CLASS)
    assert measured["packedMemory"] > measured["unpackedMemory"]
    trial.wait("packed weights", partial(loaded, trial, packed=True))
    np.testing.assert_allclose(response(trial, tmp_path), right, rtol=1e-3, atol=1e-4)
    entry = explained(trial)
    (packing,), memory = entry["packing"], next(use for use in entry["uses"] if use["resource"] == "Memory")
    assert (packing["place"], packing["packed"]) == (GATEWAY, True)
    saving = (packing["memory"] - packing["otherMemory"]) * model.stat().st_size
    try:
        squeeze(trial, memory["total"], saving)
        trial.wait("weights that are not packed", partial(loaded, trial, packed=False))
        np.testing.assert_allclose(response(trial, tmp_path), right, rtol=1e-3, atol=1e-4)
        (packing,) = explained(trial)["packing"]
        assert packing["packed"] is False
    finally:
        declare(trial, None)
    trial.wait("weights that are packed again", partial(loaded, trial, packed=True))
