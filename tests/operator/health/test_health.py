"""What a replica says of itself: liveness notices stuck work, readiness whether it could lead."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_socket
from prometheus_client import CollectorRegistry

from edge_operator.health import TURNS_WITHIN, Health, State
from edge_operator.health_server import HealthServer
from edge_operator.steps import DOWNLOAD, PLAN, WORK, Step, Steps, stuck

FINE = State(now=100.0, turned=99.5, synced=True, heard=90.0, holder="a_1", term=3)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def step(age: float, limit: float = WORK, kind: str = "plan") -> Step:
    return Step(kind, "plan of pool factory", FINE.now - age, limit)


def state(**changed: Any) -> State:
    fields = {name: getattr(FINE, name) for name in State.__slots__}
    return State(**(fields | changed))


def test_a_standby_with_a_synced_mirror_is_live_and_ready() -> None:
    assert FINE.not_live == FINE.not_ready == ()
    assert not FINE.leads


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"ended": ("namespaces",)}, "namespaces: has ended"),
        ({"turned": FINE.now - TURNS_WITHIN - 1}, "event loop: has not turned for 61 s"),
        ({"steps": (step(WORK + 1),)}, "plan of pool factory: runs for 301 s, the limit is 300 s"),
    ],
    ids=["ended", "loop", "step"],
)
def test_stuck_work_fails_liveness_and_readiness(changed: dict[str, Any], problem: str) -> None:
    found = state(**changed)
    (said,) = found.not_live
    assert problem in said
    assert found.not_ready == found.not_live


@pytest.mark.parametrize(
    "changed",
    [
        {"steps": (step(WORK - 1), step(1e6, DOWNLOAD))},
        {"turned": FINE.now - TURNS_WITHIN + 1},
        {"heard": FINE.now - 1e6},
    ],
    ids=["work", "loop", "quiet cluster"],
)
def test_work_within_its_limits_is_live(changed: dict[str, Any]) -> None:
    assert state(**changed).not_live == ()


def test_a_replica_without_a_synced_mirror_lives_and_is_not_ready() -> None:
    found = state(synced=False, heard=None)
    assert found.not_live == ()
    assert "mirror: not synced" in found.not_ready[0]
    starting = State(now=5.0)
    assert starting.not_live == ()
    assert "not started" in starting.not_ready[0]


def test_the_body_of_a_probe_tells_the_mirror_the_oldest_step_and_the_lease() -> None:
    body = state(steps=(step(40.0, PLAN), step(2.0))).document()
    assert body["mirror"] == {"synced": True, "lastEvent": 10.0}
    assert body["oldestStep"] == {
        "kind": "plan",
        "name": "plan of pool factory",
        "age": 40.0,
        "limit": PLAN,
    }
    assert body["lease"] == {"leads": False, "holder": "a_1", "term": 3}
    assert (body["live"], body["ready"], body["problems"]) == (True, True, [])
    assert FINE.document()["oldestStep"] is None
    assert (
        json.loads(json.dumps(state(steps=(step(1.0, DOWNLOAD),)).document()))["oldestStep"]["limit"] is None
    )


def test_steps_are_known_while_they_run_oldest_first_also_if_they_fail() -> None:
    clock = Clock()
    steps = Steps(clock)
    with steps.step("plan", "first", 10.0):
        clock.now = 5.0

        def fails() -> None:
            with steps.step("look", "second", 100.0):
                assert [each.name for each in steps.running] == ["first", "second"]
                assert stuck(steps.running, 11.0) == (steps.running[0],)
                raise ValueError("a defect")

        with pytest.raises(ValueError, match="a defect"):
            fails()
        assert [each.name for each in steps.running] == ["first"]
    assert steps.running == ()


def test_a_step_in_another_thread_is_seen() -> None:
    steps, begun, end = Steps(), threading.Event(), threading.Event()

    def works() -> None:
        with steps.step("effect", "write"):
            begun.set()
            assert end.wait(20)

    thread = threading.Thread(target=works)
    thread.start()
    assert begun.wait(20)
    assert [each.name for each in steps.running] == ["write"]
    end.set()
    thread.join(20)
    assert steps.running == ()


def test_the_metrics_have_the_ages_of_now() -> None:
    clock, registry = Clock(), CollectorRegistry()
    steps = Steps(clock)
    health = Health(clock, steps)
    registry.register(health)
    assert registry.get_sample_value("edge_operator_mirror_synced") == 0
    health.turns(())
    health.hears()
    with steps.step("plan", "factory", 3.0):
        clock.now = 4.0
        assert registry.get_sample_value("edge_operator_mirror_synced") == 1
        assert registry.get_sample_value("edge_operator_mirror_last_event_seconds") == 4
        assert registry.get_sample_value("edge_operator_event_loop_age_seconds") == 4
        assert registry.get_sample_value("edge_operator_oldest_step_seconds", {"kind": "plan"}) == 4
        assert registry.get_sample_value("edge_operator_oldest_step_seconds", {"kind": "look"}) == 0
        assert registry.get_sample_value("edge_operator_stuck_steps") == 1


@pytest.fixture
def served() -> Iterator[tuple[str, list[State]]]:
    pytest_socket.enable_socket()
    states = [FINE]
    server = HealthServer("127.0.0.1", 0, lambda: states[-1])
    server.start()
    yield f"http://127.0.0.1:{server.port}", states
    server.stop()


def asked(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error) if error.code == 503 else {}


def test_probes_are_answered_by_status_and_by_a_body(served: tuple[str, list[State]]) -> None:
    url, states = served
    assert [asked(f"{url}/{path}")[0] for path in ("healthz", "readyz", "other")] == [200, 200, 404]
    states.append(state(synced=False, heard=None))
    assert asked(f"{url}/healthz")[0] == 200
    status, body = asked(f"{url}/readyz")
    assert (status, body["ready"], body["mirror"]) == (503, False, {"synced": False, "lastEvent": None})
    states.append(state(steps=(step(WORK + 1),)))
    status, body = asked(f"{url}/healthz")
    assert (status, body["live"]) == (503, False)
    assert "plan of pool factory" in body["problems"][0]
