"""A new model gets requests by steps while clients send, a bad one is returned from; suspend and resume."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from onnx import numpy_helper

from demo import installation
from demo.samples import LabeledImages
from messages import mentions
from trials import Trial, another_service

ASK = Path(__file__).parents[1] / "support" / "ask_on.py"
NAME, NODES = "rolling", ("edge-a", "edge-b")
FIRST, SECOND, BROKEN = (f"store://digits/{name}.onnx" for name in ("digits", "second", "broken"))
WEIGHT, COUNTED = 30, 150
SHIFT = 5.0
"""What the second model adds to the outputs of the first."""
MEASURED = 600.0
"""Seconds until a new model is measured on all device classes, on a busy machine."""


@dataclass
class Stream:
    """Responses to the requests of a client."""

    node: str
    answers: list[dict[str, Any]] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)

    def next(self, count: int, seconds: float = 180.0) -> list[dict[str, Any]]:
        """The next responses."""
        with self.came:
            start = len(self.answers)
            enough = self.came.wait_for(lambda: len(self.answers) >= start + count, seconds)
            assert enough, f"{self.node}: {len(self.answers) - start} of {count} answers in {seconds:g} s"
            return self.answers[start : start + count]

    def receive(self, lines: Iterator[str]) -> None:
        """Reads what the client prints. A node that is too busy refuses requests (429), which are sent on."""
        for line in lines:
            answer = json.loads(line)
            if str(answer.get("error", "")).startswith("[429]"):
                continue
            with self.came:
                self.answers.append(answer)
                self.came.notify_all()


@contextmanager
def requests(trial: Trial, node: str) -> Iterator[Stream]:
    """A client at a node that sends one request after another."""
    entrance = trial.entrance(node)
    argv = [*entrance.prefix, sys.executable, str(ASK), "--address", f"{entrance.host}:{entrance.http}"]
    argv += ["--model", NAME, "--held-out", str(trial.trained.held_out), "--pause", "0.05"]
    found = Stream(node)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        reader = threading.Thread(target=found.receive, args=(process.stdout,))
        reader.start()
        try:
            found.next(1)
            yield found
        finally:
            process.stdin.close()
            reader.join(timeout=60)
            process.terminate()


def shifted(model: Path, to: Path) -> Path:
    """The same model with other biases of its classifiers, by which its outputs are greater by SHIFT."""
    proto = onnx.load(model)
    changed = 0
    for tensor in proto.graph.initializer:
        if list(tensor.dims) == [10]:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + SHIFT, tensor.name))
            changed += 1
    assert changed >= 1, "no classifier has a bias for each of 10 classes"
    onnx.save(proto, to)
    return to


class Models:
    """The responses of both models, computed here by onnxruntime."""

    def __init__(self, trial: Trial, second: Path) -> None:
        self._images = LabeledImages.load(trial.trained.held_out).images
        paths = {"first": trial.trained.onnx, "second": second}
        self._sessions = {
            name: onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            for name, path in paths.items()
        }
        self._outputs = {each["name"]: each["output"] for each in trial.listed_exits()}

    def answered_by(self, answer: dict[str, Any]) -> str:
        """Which of the models has given a response; fails if neither has."""
        assert "error" not in answer, answer
        image = self._images[answer["index"] : answer["index"] + 1]
        output = self._outputs[answer["parameters"]["exit"]]
        for name, session in self._sessions.items():
            (whole,) = session.run([output], {"image": image})
            if np.allclose(answer["values"], whole, rtol=1e-3, atol=1e-3):
                return name
        raise AssertionError(f"neither model gives {answer}")


@pytest.fixture(scope="module")
def second(installed: Trial, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model in the store, and a text file there."""
    folder = tmp_path_factory.mktemp("models")
    model = shifted(installed.trained.onnx, folder / "second.onnx")
    installation.upload(installed.cluster, model, SECOND.removeprefix("store://"))
    broken = folder / "broken.onnx"
    broken.write_text("some text")
    installation.upload(installed.cluster, broken, BROKEN.removeprefix("store://"))
    return model


@pytest.fixture
def service(trial: Trial) -> Iterator[Trial]:
    """A service with the example's model, Ready at all of its nodes."""
    body = another_service(NAME)
    # A busy machine makes requests late: a candidate is not to be returned from for that.
    body["spec"]["slo"] = {"latency": f"{round(1e3 * trial.slo)}ms", "objective": 0.01}
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(body))
    try:
        trial.wait("the service Ready", lambda: is_stable(trial))
        yield trial
    finally:
        trial.cluster.kubectl("delete", "eis", NAME, "-n", "default", "--timeout=120s")


def is_stable(trial: Trial) -> bool:
    ready = trial.condition(NAME, "Ready").get("status") == "True"
    return ready and status(trial).get("model", {}).get("phase") == "Stable"


def status(trial: Trial) -> dict[str, Any]:
    found: dict[str, Any] = trial.get("inferenceservice", NAME).get("status", {})
    return found


def change(trial: Trial, **spec: Any) -> None:
    patch = json.dumps({"spec": spec})
    trial.cluster.kubectl("patch", "eis", NAME, "-n", "default", "--type", "merge", "-p", patch)


def rollout(trial: Trial) -> dict[str, Any]:
    found: dict[str, Any] = status(trial).get("rollout", {})
    return found


def services(trial: Trial) -> list[str]:
    return trial.cluster.kubectl("get", "eis", "-n", "default", "-o", "name").split()


def in_phase(trial: Trial, phase: str) -> Callable[[], bool]:
    return lambda: rollout(trial).get("phase") == phase


def divided(trial: Trial, weight: int) -> bool:
    """Whether every node has loaded its table with this weight."""
    text = trial.cluster.kubectl("get", "placements", "-n", "default", "-o", "json")
    found = [each for each in json.loads(text)["items"] if each["spec"]["service"] == NAME]
    return bool(found) and all(
        (each["spec"].get("candidate") or {}).get("weight") == weight
        and each.get("status", {}).get("observedGeneration") == each["metadata"]["generation"]
        and each["status"]["loaded"]
        for each in found
    )


def test_a_suspended_service_refuses_requests_and_serves_again_once_resumed(service: Trial) -> None:
    change(service, suspend=True)
    service.wait(
        "the service Suspended", lambda: service.condition(NAME, "Ready").get("reason") == "Suspended"
    )
    with requests(service, NODES[0]) as stream:
        service.wait("a refusal", lambda: "error" in stream.next(1)[0])
        (refused,) = stream.next(1)
        assert mentions("spec.suspend: true").search(refused["error"]), refused
        own = f'edge_sessions_bytes{{service="{NAME}"'
        service.wait(
            "the sessions let go", lambda: not any(own in line for line in service.metrics(NODES[0]))
        )
        change(service, suspend=False)
        service.wait("a response", lambda: "values" in stream.next(1)[0])


def test_a_candidate_that_is_not_a_model_is_returned_from_without_a_lost_request(
    service: Trial, second: Path
) -> None:
    models = Models(service, second)
    with requests(service, NODES[0]) as stream:
        change(service, model={"storageUri": BROKEN}, rollout={"steps": [{"weight": 50}]})
        service.wait("the return", in_phase(service, "Returned"))
        stream.next(20)
    assert {models.answered_by(answer) for answer in stream.answers} == {"first"}
    found = service.condition(NAME, "RolledOut")
    assert (found["status"], found["reason"]) == ("False", "CandidateNotLoaded"), found
    assert mentions("NotOnnx").search(found["message"])
    assert service.condition(NAME, "Ready")["status"] == "True"
    revision = rollout(service)["revision"]
    service.wait("the candidate gone", lambda: not any(revision in each for each in services(service)))


@pytest.mark.extended
def test_requests_go_over_to_another_model_and_each_is_answered_by_one_of_the_two(
    service: Trial, second: Path
) -> None:
    models = Models(service, second)
    steps = {"shadow": {"share": 100, "duration": "5s"}, "steps": [{"weight": WEIGHT, "duration": "1h"}]}
    with requests(service, NODES[0]) as one, requests(service, NODES[1]) as other:
        change(service, model={"storageUri": SECOND}, rollout=steps)
        service.wait("the first step", in_phase(service, "Shifting"), MEASURED)
        service.wait("the weight at every node", lambda: divided(service, WEIGHT))
        for stream in (one, other):
            answers = [models.answered_by(answer) for answer in stream.next(COUNTED)]
            expected = COUNTED * WEIGHT / 100
            off = abs(answers.count("second") - expected)
            assert off < 6 * sqrt(expected * (1 - WEIGHT / 100)), (stream.node, answers.count("second"))
        service.wait("comparisons in the status", lambda: rollout(service)["compared"] > 0)
        assert rollout(service)["agreed"] == 0
        revision = rollout(service)["revision"]
        service.cluster.kubectl(
            "annotate", "eis", NAME, "-n", "default", f"edge-intelligence.io/promote={revision}"
        )
        service.wait("the promotion", lambda: is_stable(service) and rollout(service).get("weight") is None)
        service.wait("the candidate gone", lambda: not any(revision in each for each in services(service)))
        for stream in (one, other):
            assert {models.answered_by(answer) for answer in stream.next(20)} == {"second"}
    for stream in (one, other):
        assert {models.answered_by(answer) for answer in stream.answers} == {"first", "second"}
    found = status(service)["model"]
    assert (found["phase"], found["current"]) == ("Stable", found["digest"])
    assert service.condition(NAME, "RolledOut")["reason"] == "Current"
