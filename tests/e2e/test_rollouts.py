"""A new model gets requests by steps while clients send, a bad one is returned from; suspend and resume."""

from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import pytest

from bad_models import shifted
from demo import installation
from messages import mentions
from rolling_service import (
    MEASURED,
    NAME,
    NODES,
    Models,
    change,
    divided,
    in_phase,
    is_stable,
    requests,
    rolling,
    rollout,
    services,
    status,
)
from trials import Trial

SECOND, BROKEN = (f"store://digits/{name}.onnx" for name in ("second", "broken"))
WEIGHT, COUNTED = 30, 150


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
    # A busy machine makes requests late: a candidate is not to be returned from for that.
    with rolling(trial, {"objective": 0.01}):
        yield trial


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
