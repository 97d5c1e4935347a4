"""Invalid input is rejected with a message, by the API server or a condition; active routes keep serving."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import installation
from testbed.errors import KubectlFailed
from trials import Trial, another_service

CASES = yaml.safe_load((Path(__file__).parents[1] / "api" / "bad_manifests.yaml").read_text())


def merged(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386: null removes, a mapping is merged, everything else replaces."""
    result = dict(copy.deepcopy(document))
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_the_api_server_refuses_with_field_value_and_fix(trial: Trial, case: dict[str, Any]) -> None:
    manifest = yaml.safe_dump(merged(CASES["good"][case["kind"]], case["change"]))
    with pytest.raises(KubectlFailed) as refusal:
        trial.cluster.kubectl("apply", "--dry-run=server", "-f", "-", text=manifest)
    said = " ".join(str(refusal.value).split())
    for words in case["words"]:
        assert words in said, said


@pytest.mark.parametrize(
    ("change", "condition", "reason", "words"),
    [
        ({"devicePool": "factroy"}, "Planned", "DevicePoolNotFound", ['"factroy"', "factory"]),
        (
            {"model": {"digest": "sha256:" + "0" * 64}},
            "ModelReady",
            "DigestMismatch",
            ["model.digest", "0000", "sha256:"],
        ),
        (
            {"model": {"exits": [{"name": "a", "output": "exit9_logits", "accuracy": 0.9}]}},
            "ModelReady",
            "UnknownOutput",
            ["model.exits[0].output", '"exit9_logits"', "exit1_logits"],
        ),
        ({"model": {"storageUri": "store://text.onnx"}}, "ModelReady", "NotOnnx", ["ONNX"]),
        ({"model": {"storageUri": "store://nothing.onnx"}}, "ModelReady", "NotFound", ["nothing.onnx"]),
        (
            {"slo": {"latency": "1us", "minAccuracy": 0.9}},
            "Planned",
            "Infeasible",
            ['spec.slo.latency: "1µs"', "accuracy >= 0.9", "the nearest feasible latency is"],
        ),
    ],
    ids=["no such pool", "another digest", "no such output", "not ONNX", "no such file", "out of reach"],
)
def test_what_only_the_cluster_knows_becomes_a_condition_and_the_rest_keeps_serving(
    trial: Trial,
    change: dict[str, Any],
    condition: str,
    reason: str,
    words: list[str],
    tmp_path: Path,
) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("this is not a model\n")
    installation.upload(trial.cluster, text, "text.onnx")
    manifest = merged(another_service("other"), {"spec": change})
    with trial.load("edge-b", rate=2) as load:
        trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest))
        try:
            trial.wait(
                f"{condition}=False with {reason}",
                lambda: trial.condition("other", condition).get("reason") == reason,
            )
            said = trial.condition("other", condition)
            assert said["status"] == "False"
            for word in words:
                assert word in said["message"], said["message"]
            assert trial.condition("other", "Ready")["status"] == "False"
        finally:
            trial.cluster.kubectl("delete", "inferenceservice", "other", "--wait", "--timeout=60s")
    load.check_none_lost()


def test_a_change_for_the_worse_leaves_the_routes_that_serve(trial: Trial) -> None:
    before = trial.placements()
    broken = '{"spec": {"model": {"digest": "sha256:' + "1" * 64 + '"}}}'
    with trial.load("edge-c", rate=2) as load:
        trial.cluster.kubectl("patch", "inferenceservice", "digits", "--type", "merge", "-p", broken)
        try:
            trial.wait(
                "ModelReady=False",
                lambda: trial.condition("digits", "ModelReady").get("reason") == "DigestMismatch",
            )
            assert {n: p["spec"] for n, p in trial.placements().items()} == {
                n: p["spec"] for n, p in before.items()
            }
        finally:
            mended = '{"spec": {"model": {"digest": null}}}'
            trial.cluster.kubectl("patch", "inferenceservice", "digits", "--type", "merge", "-p", mended)
    load.check_none_lost()
