"""A revision that is bad in one way is returned from, while the current one answers all requests."""

import hashlib
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime
import pytest

from bad_models import erring, permuted, slow, unloadable
from demo import installation
from demo.samples import LabeledImages
from edge_api import reasons
from messages import mentions
from rolling_service import (
    MEASURED,
    NAME,
    NODES,
    Models,
    change,
    divided,
    in_phase,
    requests,
    rolling,
    rollout,
    services,
    status,
)
from trials import Trial

STEPS = {"steps": [{"weight": 50, "duration": "1h"}]}
ANY = {"objective": 0.01}
"""An SLO that is met although a busy machine makes requests late."""
LATE = 4
"""Times of the SLO that the slow revision takes at the fastest entry node."""
RUNS = 5
"""Runs of the slow model by which its speed is measured."""
SAMPLES = 100
"""Images by which the accuracy of revisions is measured: as few as the model store accepts."""
AFTER = 20
"""Responses of each node after the return."""


def returned_from(service: Trial, model: Path, reason: str, answering: Collection[str]) -> dict[str, Any]:
    """Rolls out a bad model while clients send, and checks all responses. Returns the condition RolledOut.

    answering: which of the models may answer before the return: `first`, `second`.
    """
    address = f"digits/{model.name}"
    installation.upload(service.cluster, model, address)
    models = Models(service, model if "second" in answering else None)
    first = status(service)["model"]["current"]
    with ExitStack() as stack:
        streams = [stack.enter_context(requests(service, node)) for node in NODES]
        change(service, model={"storageUri": f"store://{address}"}, rollout=STEPS)
        service.wait("the return", in_phase(service, "Returned"), MEASURED)
        service.wait("tables without the candidate", lambda: divided(service, None))
        for stream in streams:
            assert {models.answered_by(answer) for answer in stream.next(AFTER)} == {"first"}
        assert service.condition(NAME, "Ready")["status"] == "True"
    for stream in streams:
        assert {models.answered_by(answer) for answer in stream.answers} <= set(answering)
    found = status(service)["model"]
    assert (found["phase"], found["current"]) == ("Returned", first)
    assert found["candidate"] == f"sha256:{hashlib.sha256(model.read_bytes()).hexdigest()}"
    revision = rollout(service)["revision"]
    service.wait("the candidate gone", lambda: not any(revision in each for each in services(service)))
    condition = service.condition(NAME, "RolledOut")
    assert (condition["status"], condition["reason"]) == ("False", reason), condition
    return condition


@pytest.mark.extended
def test_a_revision_far_below_the_accuracy_that_it_declares_gets_no_request(
    trial: Trial, tmp_path: Path
) -> None:
    held_out, file = LabeledImages.load(trial.trained.held_out), tmp_path / "validation.npz"
    np.savez(file, inputs=held_out.images[:SAMPLES], labels=held_out.labels[:SAMPLES])
    installation.upload(trial.cluster, file, f"digits/{file.name}")
    validation = {"validation": {"storageUri": f"store://digits/{file.name}"}}
    # All at the nodes: with validation data, activations may cross links as int8, which changes responses.
    with rolling(trial, ANY, model=validation, mode="RightSizingOnly") as service:
        model = permuted(service.trained.onnx, tmp_path / "permuted.onnx")
        found = returned_from(service, model, reasons.CANDIDATE_NOT_LOADED, {"first"})
    assert mentions("spec.model.validation", "declares").search(found["message"]), found


@pytest.mark.extended
def test_a_revision_that_no_node_can_load_gets_no_request(trial: Trial, tmp_path: Path) -> None:
    with rolling(trial, ANY) as service:
        model = unloadable(service.trained.onnx, tmp_path / "unloadable.onnx")
        found = returned_from(service, model, reasons.CANDIDATE_NOT_LOADED, {"first"})
    assert mentions("example.org", "not a registered function").search(found["message"]), found


@pytest.mark.extended
def test_a_revision_that_errs_on_requests_is_returned_from_and_the_current_one_answers_them(
    trial: Trial, tmp_path: Path
) -> None:
    with rolling(trial, ANY) as service:
        model = erring(service.trained.onnx, tmp_path / "erring.onnx")
        found = returned_from(service, model, reasons.CANDIDATE_FAILS, {"first"})
    assert mentions("requests ended with an error").search(found["message"]), found


@pytest.mark.extended
def test_a_revision_that_misses_the_slo_is_returned_from(trial: Trial, tmp_path: Path) -> None:
    # All at the nodes: their speeds are known, so that the revision is late at each of them.
    with rolling(trial, {"objective": 0.5}, mode="RightSizingOnly") as service:
        rows = rows_in(service, LATE * service.slo * max(service.speeds.values()), tmp_path)
        model = slow(service.trained.onnx, tmp_path / "slow.onnx", rows)
        found = returned_from(service, model, reasons.CANDIDATE_MISSES_SLO, {"first", "second"})
    assert mentions("requests missed", "50.0%").search(found["message"]), found


def rows_in(trial: Trial, seconds: float, folder: Path, first: int = 10_000) -> int:
    """How many rows of its matrix the slow model multiplies in a time on one core of this machine."""
    image = LabeledImages.load(trial.trained.held_out).images[:1]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = slow(trial.trained.onnx, folder / "measured.onnx", first)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def fastest(given: Any) -> float:
        """Seconds of the run that other processes disturbed least."""
        times = []
        for _ in range(RUNS):
            start = perf_counter()
            session.run(["exit1_logits"], {"image": given})
            times.append(perf_counter() - start)
        return min(times)

    return round(first * seconds / (fastest(image) - fastest(np.ones_like(image))))
