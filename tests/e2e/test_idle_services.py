"""A service without requests lets go of its sessions and tails, and answers the next one from the disk."""

from collections.abc import Iterator

import numpy as np
import pytest

from trials import GATEWAY, LOCAL, Trial

AFTER = "3s"


@pytest.fixture
def letting_go(trial: Trial) -> Iterator[Trial]:
    """The example, whose entry nodes let go of it after a short time without requests."""
    trial.patch({"scaling": {"idleAfter": AFTER}})
    try:
        trial.wait("the field at every node", lambda: _told(trial))
        yield trial
    finally:
        trial.patch({"scaling": None})
        trial.wait("tables without it", lambda: not _told(trial) and trial.carries_out({}))


def _told(trial: Trial) -> bool:
    return all(found["spec"].get("idle", {}).get("after") == AFTER for found in trial.placements().values())


def _idle(trial: Trial) -> list[str]:
    """The nodes that report that they have let go of the example."""
    return [node for node, found in trial.placements().items() if found.get("status", {}).get("idle")]


def _sessions(trial: Trial) -> float:
    """Bytes of the example's sessions at the gateway."""
    series = 'edge_sessions_bytes{service="digits"}'
    return next(float(line.split()[-1]) for line in trial.metrics(GATEWAY) if line.startswith(series))


def _tails(trial: Trial) -> set[str]:
    routes = [route for found in trial.placements().values() for route in found["spec"]["routes"]]
    return {stage["model"] for route in routes for stage in route["stages"] if stage["runtime"] == "Triton"}


def _wait_until_idle(trial: Trial) -> None:
    trial.wait("all entry nodes to be idle", lambda: len(_idle(trial)) == len(trial.placements()))


def _check_first_answer(trial: Trial) -> None:
    answer = trial.ask(GATEWAY, index=1)
    assert answer.ready
    assert answer.parameters["cut"] == LOCAL
    expected = trial.whole(answer.parameters["exit"], 1)
    np.testing.assert_allclose(answer.values, expected, rtol=1e-3, atol=1e-4)


def test_an_idle_service_holds_no_sessions_and_answers_the_next_request_from_the_disk(
    letting_go: Trial,
) -> None:
    trial = letting_go
    assert trial.ask(GATEWAY).ready
    _wait_until_idle(trial)
    assert _sessions(trial) == 0
    trial.wait("the condition", lambda: trial.condition("digits", "Idle").get("status") == "True")
    assert trial.condition("digits", "Idle")["reason"] == "SessionsReleased"
    assert trial.condition("digits", "Ready")["status"] == "True"
    _check_first_answer(trial)
    loads = 'edge_first_request_load_seconds_count{service="digits"} '
    assert any(line.startswith(loads) and float(line.split()[-1]) >= 1 for line in trial.metrics(GATEWAY))
    with trial.load(GATEWAY) as load:
        load.wait_for_cut()
        assert _sessions(trial) > 0
        trial.wait("a report that it is in use", lambda: GATEWAY not in _idle(trial))
        assert "loadTime" in trial.placements()[GATEWAY]["status"]
    load.check_none_lost()


@pytest.mark.extended
def test_tails_of_an_idle_service_leave_triton_and_return_with_the_first_request(letting_go: Trial) -> None:
    trial = letting_go
    tails = _tails(trial)
    assert tails
    _wait_until_idle(trial)
    trial.wait("its tails to be unloaded", lambda: not tails & set(trial.triton_models()))
    assert len(_idle(trial)) == len(trial.placements())
    assert trial.condition("digits", "Placed")["status"] == "True"
    _check_first_answer(trial)
    with trial.load(GATEWAY) as load:
        load.wait_for_cut()
    load.check_none_lost()
    own = trial.placements()[GATEWAY]["spec"]["routes"]
    used = {stage["model"] for route in own for stage in route["stages"] if stage["runtime"] == "Triton"}
    assert used <= set(trial.triton_models())
