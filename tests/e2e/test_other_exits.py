"""Services can name different exits of one model; missing ones are measured; pools can have any name."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from demo import installation
from trials import Trial

MEASURED = 600.0


@contextmanager
def applied(trial: Trial, *manifests: Mapping[str, Any]) -> Iterator[None]:
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(manifests))
    try:
        yield
    finally:
        for manifest in reversed(manifests):
            kind, name = manifest["kind"].lower(), manifest["metadata"]["name"]
            trial.cluster.kubectl("delete", kind, name, "--wait", "--timeout=60s", "--ignore-not-found")


def service(name: str, uri: str, pool: str, exits: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    model = {"storageUri": uri} | ({"exits": exits} if exits else {})
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"model": model, "slo": {"latency": "150ms"}, "devicePool": pool},
    }


def test_a_second_service_that_names_another_exit_gets_it_measured(trial: Trial, tmp_path: Path) -> None:
    model = onnx.load(trial.trained.onnx)
    model.metadata_props.add(key="copy", value="of the example, with a digest that was never profiled")
    file = tmp_path / "copy.onnx"
    file.write_bytes(model.SerializeToString())
    installation.upload(trial.cluster, file, "copy.onnx")
    outputs = {name: entry["output"] for name, entry in _exits(model).items()}
    first, *_, last = outputs
    final = {"name": "whole", "output": outputs[last], "accuracy": 0.97}
    early = {"name": "quick", "output": outputs[first], "accuracy": 0.9}
    one = service("one", "store://copy.onnx", "factory", [final])
    two = service("two", "store://copy.onnx", "factory", [early, final])
    with applied(trial, one):
        trial.wait("one is planned", lambda: _planned(trial, "one"), MEASURED)
        with applied(trial, two):
            trial.wait("two is planned", lambda: _planned(trial, "two"), MEASURED)
            assert _planned(trial, "one")
            costs = trial.get("modelprofile", "two")["spec"]["deviceClasses"]
            assert [[e["exit"] for e in c["exits"]] for c in costs] == [["quick", "whole"]] * len(costs)


@pytest.mark.extended
def test_a_triton_server_named_like_a_node_is_reported_and_its_pool_is_measured(
    trial: Trial,
) -> None:
    pool = copy.deepcopy(trial.get("devicepool", "factory"))
    good = {
        "apiVersion": pool["apiVersion"],
        "kind": "DevicePool",
        "metadata": {"name": "factory.west"},
        "spec": pool["spec"],
    }
    bad = copy.deepcopy(good)
    bad["spec"]["tritonServers"][0]["name"] = "edge-b"
    other = service("other", "store://digits/digits.onnx", "factory.west")
    with trial.older_pool(bad), applied(trial, other):
        trial.wait("NameTaken", lambda: _reason(trial, "other", "Planned") == "NameTaken")
        assert 'spec.tritonServers[0].name: "edge-b"' in trial.condition("other", "Planned")["message"]
        trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(good))
        trial.wait("the plan", lambda: _planned(trial, "other"), MEASURED)
        # Its classes have the names of the example's, and are measured for this pool.
        pools = {"digits": "factory", "other": "factory.west"}
        for name, own in pools.items():
            classes = trial.get("modelprofile", name)["spec"]["deviceClasses"]
            assert {costs["selection"].rpartition("-")[0] for costs in classes} == {own}


def _reason(trial: Trial, name: str, condition: str) -> str:
    return str(trial.condition(name, condition).get("reason"))


def _exits(model: onnx.ModelProto) -> dict[str, dict[str, Any]]:
    written = next(entry.value for entry in model.metadata_props if entry.key == "edge.exits")
    return {entry["name"]: entry for entry in yaml.safe_load(written)}


def _planned(trial: Trial, name: str) -> bool:
    return trial.condition(name, "Planned").get("status") == "True"
