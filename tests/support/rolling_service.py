"""A service whose model is replaced while clients send requests: its clients, its states, and responses."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import yaml

from demo.samples import LabeledImages
from trials import Trial, another_service

ASK = Path(__file__).with_name("ask_on.py")
NAME, NODES = "rolling", ("edge-a", "edge-b")
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


class Models:
    """The responses of models, computed here by onnxruntime. None is answered by a mixture of them."""

    def __init__(self, trial: Trial, second: Path | None = None) -> None:
        """second: the model beside the example's; None if it cannot be loaded."""
        self._images = LabeledImages.load(trial.trained.held_out).images
        paths = {"first": trial.trained.onnx} | ({"second": second} if second is not None else {})
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
            try:
                (whole,) = session.run([output], {"image": image})
            except Exception:  # onnxruntime's exceptions have no common base
                continue  # this model cannot answer it
            if np.allclose(answer["values"], whole, rtol=1e-3, atol=1e-3):
                return name
        raise AssertionError(f"neither model gives {answer}")


@contextmanager
def rolling(trial: Trial, slo: Mapping[str, Any], **spec: Any) -> Iterator[Trial]:
    """A service with the example's model, Ready at all of its nodes. slo, spec: fields of its spec."""
    body = another_service(NAME)
    body["spec"]["slo"] = {"latency": f"{round(1e3 * trial.slo)}ms", **slo}
    body["spec"]["model"] |= spec.pop("model", {})
    body["spec"] |= spec
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(body))
    try:
        trial.wait("the service Ready", lambda: is_stable(trial), MEASURED)
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


def divided(trial: Trial, weight: int | None) -> bool:
    """Whether every node has loaded its table with this weight of a candidate; None: without one."""
    text = trial.cluster.kubectl("get", "placements", "-n", "default", "-o", "json")
    found = [each for each in json.loads(text)["items"] if each["spec"]["service"] == NAME]
    return bool(found) and all(
        (each["spec"].get("candidate") or {}).get("weight") == weight
        and each.get("status", {}).get("observedGeneration") == each["metadata"]["generation"]
        and each["status"]["loaded"]
        for each in found
    )
