"""A service on the cluster returns the results of the uncut model, and reports its choice."""

import numpy as np
import pytest

from trials import GATEWAY, LOCAL, Answer, Trial

NODES = ("edge-a", "edge-b", "edge-c")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("node", NODES)
def test_an_entry_node_answers_what_the_whole_model_says_at_that_exit(
    trial: Trial, node: str, protocol: str
) -> None:
    answer = trial.ask(node, protocol, index=5)
    assert (answer.ready, answer.id, answer.model, answer.output) == (True, "trial-1", "digits", "logits")
    whole = trial.whole(answer.parameters["exit"], index=5)
    np.testing.assert_allclose(answer.values, whole, rtol=1e-3, atol=1e-4)


def test_a_cut_route_and_the_local_route_both_answer_a_batch(trial: Trial) -> None:
    def answered(local: bool) -> Answer:
        """The next response of that kind to a batch: after a late hop the local route responds, too."""
        found: list[Answer] = []

        def as_wanted() -> bool:
            found.append(trial.ask(GATEWAY, index=0, count=3))
            return (found[-1].parameters["cut"] == LOCAL) is local

        trial.wait("a local response" if local else "a response by a cut route", as_wanted)
        return found[-1]

    cut = answered(local=False)
    trial.cluster.set_links(0.0)
    for answer in (cut, answered(local=True)):
        whole = trial.whole(answer.parameters["exit"], 0, 3)
        np.testing.assert_allclose(answer.values, whole, rtol=1e-3, atol=1e-4)


def test_kubectl_get_shows_what_was_chosen(trial: Trial) -> None:
    with trial.load("edge-a"):
        trial.wait(
            "a P95 in kubectl get",
            lambda: "ms" in trial.cluster.kubectl("get", "inferenceservices", "-A").splitlines()[1],
        )
        header, line = trial.cluster.kubectl("get", "inferenceservices", "-A").splitlines()
    assert header.split() == [
        "NAMESPACE", "NAME", "URL", "READY", "ENTRIES", "SLO", "BUDGET", "LATENCY", "P95", "CUT",
        "EXIT", "REASON", "AGE",
    ]  # fmt: skip
    assert "http://digits.default.svc.cluster.local" in line
    assert "True" in line


def test_kubectl_explain_tells_units_and_defaults(trial: Trial) -> None:
    text = trial.cluster.kubectl("explain", "inferenceservice.spec.slo")
    for words in ("latency", "-required-", "100ms", "percentile", "Default: 95", "minAccuracy"):
        assert words in " ".join(text.split()), text


def test_every_entry_is_in_the_status_with_what_it_does(trial: Trial) -> None:
    status = trial.get("inferenceservice", "digits")["status"]
    assert [entry["node"] for entry in status["entries"]] == list(NODES)
    assert {c["type"] for c in status["conditions"]} >= {
        "Ready", "Progressing", "Degraded", "ModelReady", "Profiled", "Planned", "Placed", "SLOMet",
    }  # fmt: skip
    profile = trial.get("modelprofile", "digits")["spec"]
    assert {c["name"] for c in profile["deviceClasses"]} == {"gateway", "camera", "cloud"}


def test_a_slower_device_class_is_measured_slower(trial: Trial) -> None:
    from edge_api.quantities import parse_duration

    classes = {c["name"]: c for c in trial.get("modelprofile", "digits")["spec"]["deviceClasses"]}
    full = {name: parse_duration(c["exits"][-1]["mean"]) for name, c in classes.items()}
    assert full["camera"] > full["gateway"] > full["cloud"]
