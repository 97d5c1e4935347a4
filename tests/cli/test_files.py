"""Commands that read and write files: `init`, `convert`, `profile`, `dashboards`, `simulate`, `plan`."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from edge_api.validation_messages import problems
from edge_cli.errors import ExitStatus
from edge_cli.kserve import VERSION, converted
from edge_cli.manifests import service_name
from messages import mentions

World = Any
Ei = Any


def two_exits(path: Path, *, open_side: bool = False) -> Path:
    """An ONNX file with an early exit, as its metadata says."""
    side: int | str = "side" if open_side else 4
    weights = [
        helper.make_tensor(n, TensorProto.FLOAT, [4, 4], np.ones(16, np.float32)) for n in ("a", "b", "c")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["trunk"]),
        helper.make_node("MatMul", ["trunk", "b"], ["early"]),
        helper.make_node("MatMul", ["trunk", "c"], ["late"]),
    ]
    shape = ["batch", side] if not open_side else ["batch", side, 4]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("early", "late")],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    exits = [
        {"name": "first", "output": "early", "accuracy": 0.8},
        {"name": "full", "output": "late", "accuracy": 0.95},
    ]
    helper.set_model_props(model, {"edge.exits": json.dumps(exits)})
    onnx.save(model, path)
    return path


def test_init_writes_a_manifest_that_is_valid_and_tells_the_exits(run: Ei, tmp_path: Path) -> None:
    model = two_exits(tmp_path / "Cat Finder.v2.onnx")
    flags = ("--latency", "80ms", "--pool", "factory", "--min-accuracy", "0.9", "-n", "shop")
    done = run("init", str(model), *flags)
    assert done.status == 0
    body = yaml.safe_load(done.out)
    assert problems(body) == []
    assert body["metadata"] == {"name": "cat-finder-v2", "namespace": "shop"}
    assert body["spec"]["slo"] == {"latency": "80ms", "minAccuracy": 0.9}
    assert body["spec"]["model"] == {"storageUri": "store://Cat Finder.v2.onnx"}
    assert mentions("first (0.8)", "full (0.95)").search(done.out.splitlines()[0])


def test_init_writes_a_file_and_says_what_is_next(run: Ei, tmp_path: Path) -> None:
    target = tmp_path / "service.yaml"
    model = two_exits(tmp_path / "two.onnx")
    done = run("init", str(model), "--latency", "80ms", "--pool", "factory", "-f", str(target))
    assert (done.status, done.out) == (0, "")
    assert problems(yaml.safe_load(target.read_text())) == []
    assert mentions("ei put", "ei plan -f", "kubectl apply -f").search(done.err)


@pytest.mark.parametrize("missing", ["--latency", "--pool"])
def test_init_without_a_terminal_names_the_flag_that_is_missing(
    run: Ei, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    flags = {"--latency": "80ms", "--pool": "factory"}
    given = [part for flag, value in flags.items() if flag != missing for part in (flag, value)]
    done = run("init", str(two_exits(tmp_path / "two.onnx")), *given)
    assert done.status == ExitStatus.USAGE
    assert done.err.startswith(f"ei: {missing}: ")


def test_init_of_open_shapes_says_which_field_states_them(run: Ei, tmp_path: Path) -> None:
    model = two_exits(tmp_path / "open.onnx", open_side=True)
    done = run("init", str(model), "--latency", "80ms", "--pool", "factory")
    assert done.status == 0
    assert "spec.model.inputs" in done.out


def test_init_refuses_a_file_without_a_model(run: Ei, tmp_path: Path) -> None:
    text = tmp_path / "notes.onnx"
    text.write_text("no model")
    for file in (text, tmp_path / "lost.onnx"):
        done = run("init", str(file), "--latency", "80ms", "--pool", "factory")
        assert done.status == ExitStatus.PROBLEM
        assert file.name in done.err


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Digits.onnx", "digits"),
        ("2nd_try.onnx", "model-2nd-try"),
        ("ümlaut x.onnx", "mlaut-x"),
        ("é.onnx", "model"),
    ],
)
def test_a_name_is_made_from_that_of_the_file(file: str, name: str) -> None:
    assert service_name(Path(file)) == name


def kserve(**predictor: Any) -> dict[str, Any]:
    model = {"modelFormat": {"name": "onnx"}, "storageUri": "s3://models/cat.onnx", "protocolVersion": "v2"}
    found: dict[str, Any] = {
        "apiVersion": VERSION,
        "kind": "InferenceService",
        "metadata": {"name": "cat", "namespace": "shop"},
        "spec": {"predictor": {"model": model} | predictor},
    }
    return found


def test_a_service_of_kserve_is_converted() -> None:
    found = converted(kserve(nodeSelector={"class": "camera"}), 0.1, "factory")
    assert found.notes == ()
    assert found.body is not None
    assert problems(found.body) == []
    assert found.body["metadata"] == {"name": "cat", "namespace": "shop"}
    assert found.body["spec"] == {
        "model": {"storageUri": "s3://models/cat.onnx"},
        "slo": {"latency": "100ms"},
        "devicePool": "factory",
        "entryNodes": {"nodeSelector": {"class": "camera"}},
    }


@pytest.mark.parametrize(
    "field",
    [
        "minReplicas",
        "maxReplicas",
        "batcher",
        "logger",
        "canaryTrafficPercent",
        "tolerations",
        "containerConcurrency",
        "priorityClassName",
    ],
)
def test_a_field_that_does_not_map_has_a_sentence(field: str) -> None:
    (note,) = converted(kserve(**{field: 1}), 0.1, "factory").notes
    assert note.startswith(f"spec.predictor.{field}: ")


def test_a_field_of_the_model_or_the_spec_that_is_not_known_has_a_sentence() -> None:
    document = kserve()
    document["spec"]["another"] = {}
    document["spec"]["predictor"]["model"]["readinessProbe"] = {}
    notes = converted(document, 0.1, "factory").notes
    assert [note.split(": ")[0] for note in notes] == [
        "spec.another",
        "spec.predictor.model.readinessProbe",
    ]


def test_scaling_to_zero_and_canaries_name_what_is_here_in_their_place() -> None:
    zero, canary = converted(kserve(minReplicas=0, canaryTrafficPercent=10), 0.1, "factory").notes
    assert mentions("spec.predictor.minReplicas", "spec.scaling.idleAfter").search(zero)
    assert mentions("spec.predictor.canaryTrafficPercent", "spec.rollout").search(canary)


def test_labels_and_annotations_of_the_author_are_kept() -> None:
    document = kserve()
    document["metadata"]["labels"] = {"team": "vision", "serving.kserve.io/gke": "x"}
    document["metadata"]["annotations"] = {
        "owner": "b",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    found = converted(document, 0.1, "factory")
    assert found.body is not None
    assert problems(found.body) == []
    assert found.body["metadata"] == {
        "name": "cat",
        "namespace": "shop",
        "labels": {"team": "vision"},
        "annotations": {"owner": "b"},
    }
    assert [note.split()[1] for note in found.notes] == ["serving.kserve.io/gke"]


def test_transformers_and_explainers_are_named() -> None:
    document = kserve()
    document["spec"] |= {"transformer": {}, "explainer": {}}
    document["metadata"]["annotations"] = {"autoscaling.knative.dev/target": "3"}
    notes = converted(document, 0.1, "factory").notes
    assert [note.split(": ")[0] for note in notes] == [
        "spec.transformer",
        "spec.explainer",
        "metadata.annotations",
    ]


@pytest.mark.parametrize(
    ("predictor", "parts"),
    [
        ({"model": None, "containers": [{}]}, ("spec.predictor:",)),
        ({"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://a/b"}}, ("sklearn", "ONNX")),
        ({"model": None, "pytorch": {"storageUri": "s3://a/b"}}, ("pytorch",)),
        (
            {"model": {"modelFormat": {"name": "onnx"}, "storageUri": "azure://a/b.onnx"}},
            ("azure://a/b.onnx",),
        ),
    ],
)
def test_what_cannot_be_converted_says_why(predictor: dict[str, Any], parts: tuple[str, ...]) -> None:
    found = converted(kserve(**predictor), 0.1, "factory")
    assert found.body is None
    assert mentions(*parts).search(found.notes[0])


def test_a_folder_and_the_first_protocol_are_to_be_checked() -> None:
    model = {"modelFormat": {"name": "onnx"}, "storageUri": "gs://models/cat"}
    notes = converted(kserve(model=model), 0.1, "factory").notes
    assert [note.split(":")[0] for note in notes] == ["spec.predictor.model.storageUri", "clients"]


def test_convert_prints_what_it_can_and_exits_with_1_if_that_is_not_all(run: Ei, tmp_path: Path) -> None:
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    refused = kserve(model=None, sklearn={"storageUri": "s3://a/b"})
    file = tmp_path / "kserve.yaml"
    file.write_text(yaml.safe_dump_all([other, kserve(minReplicas=2), kserve(), refused]))
    done = run("convert", str(file), "--latency", "100ms", "--pool", "factory")
    assert done.status == ExitStatus.PROBLEM
    assert len(list(yaml.safe_load_all(done.out))) == 2
    assert "# spec.predictor.minReplicas: " in done.out
    assert mentions("cat", "sklearn").search(done.err)
    file.write_text(yaml.safe_dump_all([other, kserve()]))
    assert run("convert", str(file), "--latency", "100ms", "--pool", "factory").status == ExitStatus.OK
    file.write_text(yaml.safe_dump(other))
    done = run("convert", str(file), "--latency", "100ms", "--pool", "factory")
    assert done.status == ExitStatus.PROBLEM


def board(name: str, uid: str) -> dict[str, Any]:
    labels = {"grafana_dashboard": "1", "app.kubernetes.io/part-of": "edge-intelligence"}
    data = {f"{name}.json": json.dumps({"uid": uid, "title": name.title()}), "notes.txt": "not JSON"}
    metadata = {"name": f"edge-{name}", "namespace": "edge-intelligence", "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_dashboards_are_listed_and_exported(world: World, ei: Ei, tmp_path: Path) -> None:
    assert ei("dashboards").status == ExitStatus.PROBLEM
    for name, uid in (("fleet", "edge-fleet"), ("pool", "edge-pool")):
        world.cluster.put(board(name, uid))
    found = ei("dashboards", "-o", "json").document
    assert [(each["uid"], each["title"]) for each in found] == [
        ("edge-fleet", "Fleet"),
        ("edge-pool", "Pool"),
    ]
    done = ei("dashboards", "--export", str(tmp_path / "boards"))
    assert done.status == 0
    assert json.loads((tmp_path / "boards" / "fleet.json").read_text())["uid"] == "edge-fleet"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_scripts_of_shells_name_the_variable_of_the_command(run: Ei, shell: str) -> None:
    done = run("completion", shell)
    assert done.status == 0
    assert "_EI_COMPLETE" in done.out


def test_simulate_compares_the_table_of_a_service_with_edgent(world: World, ei: Ei, tmp_path: Path) -> None:
    world.settle()
    common = ("simulate", "digits", "--duration", "60s", "--rate", "2", "-o", "json")
    found = ei(*common, "--bandwidth", "20M", "--at", "cam-1").document
    assert set(found) == {"ours", "edgent"}
    assert found["ours"]["attainment"] > 0.9
    trace = tmp_path / "trace"
    trace.write_text("0 5\n10 0.05\n20 5\n")
    slow = ei(*common, "--trace", str(trace)).document
    assert slow["ours"]["attainment"] >= slow["edgent"]["attainment"]
    assert "policy" in ei(*common[:-2]).out
    assert mentions("--at:", "cam-1").search(ei(*common, "--at", "nowhere").err)
    assert ei(*common, "--trace", str(tmp_path / "lost")).status == ExitStatus.PROBLEM


def test_profile_measures_a_file_on_this_machine(run: Ei, tmp_path: Path) -> None:
    done = run("profile", str(two_exits(tmp_path / "two.onnx")), "--seconds", "10ms", "-o", "json")
    assert done.status == 0
    assert [each["exit"] for each in done.document["exits"]] == ["first", "full"]


def test_plan_of_a_new_service_says_that_its_model_is_profiled_first(
    world: World, ei: Ei, tmp_path: Path
) -> None:
    world.settle()
    body = world.service()
    new = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {"name": "letters"}}
    file = tmp_path / "letters.yaml"
    file.write_text(yaml.safe_dump({**new, "spec": body["spec"]}))
    found = ei("plan", "-f", str(file), "-n", "shop", "-o", "json").document
    assert found["objects"] == [
        {"kind": "InferenceService", "namespace": "shop", "name": "letters", "change": "Create"}
    ]
    assert [(each["service"], each["namespace"]) for each in found["waiting"]] == [("letters", "shop")]
    assert {each["change"] for each in found["entries"]} == {"Unchanged"}


def test_plan_of_a_pool_without_triton_names_who_gets_less(world: World, ei: Ei, tmp_path: Path) -> None:
    world.settle()
    pool = {k: v for k, v in world.pool().items() if k != "status"}
    pool["spec"] = {**pool["spec"], "tritonServers": []}
    file = tmp_path / "pool.yaml"
    file.write_text(yaml.safe_dump(pool))
    found = ei("plan", "-f", str(file), "-o", "json")
    assert found.status == 0
    worse = {each["node"] for each in found.document["entries"] if each["change"] == "Worse"}
    assert {"cam-1", "cam-2"} <= worse
    done = ei("plan", "-f", str(file), "--fail-on-worse")
    assert done.status == ExitStatus.PROBLEM
    assert "Worse" in done.out


def test_plan_changes_nothing(world: World, ei: Ei, tmp_path: Path) -> None:
    world.settle()
    file = tmp_path / "service.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in world.service().items() if k != "status"}))
    before, log = dict(world.cluster.objects), list(world.log)
    found = ei("plan", "-f", str(file), "-o", "json").document
    assert [each["change"] for each in found["objects"]] == ["Unchanged"]
    assert {each["change"] for each in found["entries"]} == {"Unchanged"}
    assert (world.cluster.objects, world.log) == (before, log)


def test_plan_names_file_and_field_of_an_invalid_manifest(ei: Ei, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "apiVersion: edge-intelligence.io/v1alpha1\nkind: InferenceService\nmetadata: {name: a}\nspec: {}\n"
    )
    done = ei("plan", "-f", str(file))
    assert done.status == ExitStatus.PROBLEM
    assert done.err.startswith(f"ei: {file}: spec.")
    file.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")
    assert mentions("InferenceService", "DevicePool", "Tenant").search(ei("plan", "-f", str(file)).err)
