"""A state that the entry node keeps follows its sequence over routes with a tail in Triton and without."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import yaml

from demo import installation
from edge_api.quantities import parse_quantity
from messages import mentions
from recurrent import NARROW, WIDE, recurrent
from trials import Trial

ASK = Path(__file__).parents[1] / "support" / "ask_sequence.py"
NAME, NODE = "streams", "edge-b"
MEASURED = 600.0
STREAMS, WHOLE = (7, 8), "frames+state"
SLOWER = 0.7
"""Part of the bandwidth that a route needs, at which the next one of the table is used."""
PARTS = ((0, 3), (3, 6), (6, 9))
"""Requests of a sequence between two changes of the route."""

Answers = list[dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "recurrent.onnx"
    path.write_bytes(recurrent())
    return path


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """For each sequence a file with its frames."""
    folder, found = tmp_path_factory.mktemp("frames"), {}
    for stream in STREAMS:
        rows = np.random.default_rng(stream).normal(size=(PARTS[-1][1], WIDE)).astype(np.float32)
        found[stream] = folder / f"{stream}.npz"
        np.savez(found[stream], frames=rows)
    return found


def manifest(mode: str) -> dict[str, Any]:
    state = [{"output": "stateN", "input": "state"}]
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {
            "model": {"storageUri": f"store://{NAME}.onnx", "state": state},
            "slo": {"latency": "5s"},
            "devicePool": "factory",
            "mode": mode,
        },
    }


def apply(trial: Trial, mode: str) -> list[dict[str, Any]]:
    """Changes the mode; returns the routes of the table once the entry node uses it."""
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest(mode)))
    trial.wait(f"the table of {mode}", partial(loaded, trial, mode), MEASURED)
    found: list[dict[str, Any]] = trial.get("placement", f"{NAME}.{NODE}")["spec"]["routes"]
    return found


def use_a_head(trial: Trial, routes: Sequence[Mapping[str, Any]]) -> str:
    """Makes the link too slow for the frames, where the table has a route that sends them; returns the cut
    of the route with a head, which sends less.
    """
    cuts = [str(route["cut"]) for route in routes]
    number = next((n for n, cut in enumerate(cuts) if cut not in ("local", WHOLE)), None)
    assert number is not None, f"no head is worth its time at {NODE}: {routes}"
    if number:
        trial.cluster.set_links(SLOWER * parse_quantity(routes[number - 1]["minBandwidth"]))
    return cuts[number]


def loaded(trial: Trial, mode: str) -> bool:
    if trial.condition(NAME, "Ready").get("status") != "True":
        return False
    body = trial.get("placement", f"{NAME}.{NODE}")
    status = body.get("status", {})
    current = status.get("observedGeneration") == body["metadata"]["generation"]
    return bool(body["spec"].get("mode", "Auto") == mode and current and status.get("loaded"))


@pytest.fixture
def served(trial: Trial, model: Path) -> Iterator[Trial]:
    installation.upload(trial.cluster, model, f"{NAME}.onnx")
    try:
        yield trial
    finally:
        trial.cluster.kubectl("delete", "inferenceservice", NAME, "--ignore-not-found", "--timeout=60s")


class Streams:
    """Sequences whose requests are sent at the same time, one process for each."""

    def __init__(self, trial: Trial, frames: Mapping[int, Path]) -> None:
        self._trial, self._frames = trial, frames
        self.answers: dict[int, Answers] = {stream: [] for stream in frames}

    def send(self, part: tuple[int, int], *flags: str) -> None:
        """Sends the next requests of every sequence."""
        with ExitStack() as stack:
            running = {
                stream: stack.enter_context(self._start(stream, part, flags)) for stream in self._frames
            }
            for stream, process in running.items():
                out, errors = process.communicate(timeout=120)
                assert process.returncode == 0, f"{errors[-2000:]}\n{self._trial.state()}"
                self.answers[stream] += json.loads(out)

    def once(self, stream: int, *flags: str) -> dict[str, Any]:
        """Sends one request; returns its response."""
        with self._start(stream, (0, 1), flags) as process:
            out, errors = process.communicate(timeout=120)
            assert process.returncode == 0, f"{errors[-2000:]}\n{self._trial.state()}"
        (found,) = json.loads(out)
        return dict(found)

    def wait_for_cut(self, cut: str) -> None:
        """Sends requests of another sequence until they take a route with this cut."""

        def taken() -> bool:
            found = self.once(min(self._frames), "--start", "--end", "--sequence", "99")
            return bool(found["parameters"]["cut"] == cut)

        self._trial.wait(f"a response by the cut {cut}", taken)

    def _start(self, stream: int, part: tuple[int, int], flags: Sequence[str]) -> "subprocess.Popen[str]":
        entrance = self._trial.entrance(NODE)
        argv = [*entrance.prefix, sys.executable, str(ASK), "--address", f"{entrance.host}:{entrance.http}"]
        argv += ["--model", NAME, "--inputs", str(self._frames[stream]), "--rows", f"{part[0]}:{part[1]}"]
        argv += ["--sequence", str(stream), *flags]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def whole(model: Path, frames: Path) -> list[npt.NDArray[np.float32]]:
    """The speech of each frame, by onnxruntime with the state carried from frame to frame."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    state, found = np.zeros((1, NARROW), np.float32), []
    with np.load(frames) as file:
        for frame in file["frames"]:
            speech, state = session.run(["speech", "stateN"], {"frames": frame[None], "state": state})
            found.append(speech)
    return found


def test_two_sequences_keep_their_states_while_the_route_changes(
    served: Trial, model: Path, frames: Mapping[int, Path]
) -> None:
    streams = Streams(served, frames)
    used = [use_a_head(served, apply(served, "PartitionOnly"))]
    streams.wait_for_cut(used[0])
    streams.send(PARTS[0], "--start")
    for mode, part, flags in (("LocalOnly", PARTS[1], []), ("CloudOnly", PARTS[2], ["--end"])):
        used.append(str(apply(served, mode)[0]["cut"]))
        streams.wait_for_cut(used[-1])
        streams.send(part, *flags)
    assert used[1:] == ["local", WHOLE]
    for stream, answers in streams.answers.items():
        for cut, (first, last) in zip(used, PARTS, strict=True):
            cuts = {answer["parameters"]["cut"] for answer in answers[first:last]}
            assert cut in cuts <= {cut, "local"}, "a late hop falls back to the local route"
        for answer, right in zip(answers, whole(model, frames[stream]), strict=True):
            assert list(answer["outputs"]) == ["speech"]
            np.testing.assert_allclose(answer["outputs"]["speech"], right, rtol=1e-3, atol=1e-3)
    for stream in STREAMS:  # they have ended
        refused = streams.once(stream)
        assert refused["status"] == "400"
        assert mentions("parameters.sequence_id", str(stream), "sequence_start").search(refused["error"])
