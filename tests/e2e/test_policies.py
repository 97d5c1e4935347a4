"""Policies of a service beyond routes: early exits, a cache, a limit on serving while disconnected."""

import numpy as np

from trials import Trial


def test_confident_inputs_leave_at_an_early_exit_of_the_node_and_the_others_do_not(trial: Trial) -> None:
    with trial.with_fields(mode="LocalOnly", earlyExit={"mode": "Confidence", "threshold": 0.9}):
        final = trial.placements()["edge-a"]["spec"]["routes"][0]["exit"]
        trial.wait("an input that leaves early", lambda: any(early(trial, i, final) for i in range(8)))
        answers = [trial.ask("edge-a", index=index) for index in range(30, 45)]
    for index, answer in zip(range(30, 45), answers, strict=True):
        exit_ = answer.parameters["exit"]
        assert exit_ == final or answer.parameters["confidence"] >= 0.9
        np.testing.assert_allclose(answer.values, trial.whole(exit_, index), rtol=1e-3, atol=1e-4)
    assert any(answer.parameters["exit"] != final for answer in answers)


def test_an_input_that_comes_again_is_answered_from_the_cache(trial: Trial) -> None:
    with trial.with_fields(resultCache={"maxBytes": "1Mi", "maxAge": "1m0s"}):
        first = trial.ask("edge-b", index=7)
        trial.wait("a cached answer", lambda: bool(trial.ask("edge-b", index=7).parameters.get("cached")))
        again = trial.ask("edge-b", index=7)
        np.testing.assert_allclose(
            again.values, trial.whole(again.parameters["exit"], 7), rtol=1e-3, atol=1e-4
        )
        assert "cached" not in trial.ask("edge-b", index=8).parameters
    assert "cached" not in first.parameters


def test_a_node_that_hears_nothing_for_longer_than_the_autonomy_refuses_until_it_does(trial: Trial) -> None:
    with trial.with_fields(autonomy="20s"), trial.load("edge-a", rate=2) as load:
        trial.cluster.set_links(0.0)
        load.wait_for_local()
        refused = load.wait_for("a refusal", lambda a: "autonomy" in a.get("error", ""))
        assert "API server" in refused["error"]
        trial.cluster.set_links(None)
        load.wait_for("a response", lambda a: "error" not in a)


def early(trial: Trial, index: int, final: str) -> bool:
    return bool(trial.ask("edge-a", index=index).parameters["exit"] != final)
