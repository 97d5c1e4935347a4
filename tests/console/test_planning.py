"""Explanations and suppositions are those of the operator's planner, and limited in rate and size."""

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.console.served import SETTINGS
from edge_api import written
from edge_console import planning
from edge_console.errors import HiddenError, RefusedError, TooManyError, UnavailableError
from edge_console.limits import Limiter
from edge_console.planning import BURST, LARGEST, RATE, Plans, Times, question
from edge_console.rights import Sight
from edge_operator.cluster import MODEL_PROFILES
from edge_operator.errors import PermissionDeniedError
from edge_operator.explaining.installed import Installed
from edge_operator.explaining.overlays import Mirrored
from edge_operator.explaining.services import explain_service
from edge_operator.explaining.suppositions import Supposition, suppose
from factory import SERVICES

ALL = Sight("admin", frozenset({"default", "lab"}), pools=True, tenants=True)
ONE = Sight("person", frozenset({"default"}))
INSTALLED = Installed(SETTINGS)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wall(planned: Any) -> Callable[[], datetime.datetime]:
    found: Callable[[], datetime.datetime] = planned.clock().wall
    return found


@pytest.fixture
def plans(reads: Mirrored, clock: Clock, wall: Callable[[], datetime.datetime]) -> Plans:
    return Plans(reads, lambda: INSTALLED, Times(clock, wall))


def test_the_explanation_is_that_of_the_operators_plan(
    plans: Plans, reads: Mirrored, wall: Callable[[], datetime.datetime]
) -> None:
    found = plans.explanation(ALL, "default", "labels")
    assert found == written(explain_service(reads, "default", "labels", INSTALLED, wall()))
    assert all(each["reason"] for entry in found["entries"] for each in entry["rejected"])


@pytest.mark.parametrize(
    ("body", "supposed"),
    [
        ({"bandwidth": "1M"}, Supposition(bandwidth=1_000_000)),
        ({"bandwidth": "100k", "latency": "300ms"}, Supposition(bandwidth=100_000, latency=0.3)),
        ({"latency": "50ms"}, Supposition(latency=0.05)),
        ({"rate": 20, "minAccuracy": 0.8}, Supposition(rate=20, min_accuracy=0.8)),
        (
            {"roundTrip": "40ms", "nodes": ["cam-1"]},
            Supposition(round_trip=0.04, nodes=frozenset({"cam-1"})),
        ),
    ],
)
def test_a_supposition_is_planned_by_the_operators_planner(
    plans: Plans,
    reads: Mirrored,
    wall: Callable[[], datetime.datetime],
    body: dict[str, Any],
    supposed: Supposition,
) -> None:
    found = plans.what_if(ALL, "default", "labels", json.dumps(body).encode())
    assert found == written(suppose(reads, "default", "labels", supposed, INSTALLED, wall()))


def test_what_a_tenant_uses_is_explained_to_those_who_can_list_tenants(plans: Plans) -> None:
    shares = plans.explanation(ALL, "default", "digits")["tenant"]
    assert (shares["name"], shares["pool"]["name"]) == ("shop", "factory")
    assert "tenant" not in plans.explanation(ONE, "default", "digits")


def test_with_less_bandwidth_more_of_the_model_runs_at_the_node(plans: Plans) -> None:
    fast = plans.what_if(ALL, "default", "labels", b'{"bandwidth": "100M", "nodes": ["gate"]}')
    slow = plans.what_if(ALL, "default", "labels", b'{"bandwidth": "1M", "nodes": ["gate"]}')
    assert [entry["after"]["route"] for entry in fast["entries"]] == ["final@image"]
    assert [entry["after"]["route"] for entry in slow["entries"]] == ["final@pool1"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"bandwidth": "fast"}', "bandwidth"),
        (b'{"bandwidth": "0"}', "bandwidth"),
        (b'{"latency": "0s"}', "latency"),
        (b'{"minAccuracy": 2}', "minAccuracy"),
        (b'{"model": "store://x"}', "model"),
        (b"[]", "body"),
        (b"{", "body"),
        (b'{"bandwidth": "' + b"1" * LARGEST + b'"}', "body"),
    ],
)
def test_a_wrong_question_is_refused_with_the_field(body: bytes, field: str) -> None:
    with pytest.raises(RefusedError, match=f"^{field}: "):
        question(body)


def test_a_viewer_makes_few_plans_a_second(plans: Plans, clock: Clock) -> None:
    def ask() -> None:
        plans.what_if(ONE, "default", "labels", b'{"bandwidth": "1M"}')

    for _ in range(BURST):
        ask()
    with pytest.raises(TooManyError) as refused:
        ask()
    assert refused.value.seconds == pytest.approx(1 / RATE)
    plans.explanation(ALL, "default", "labels")  # others are not refused
    clock.now += 1 / RATE
    ask()


def test_an_explanation_that_is_a_few_seconds_old_costs_no_plan(plans: Plans, clock: Clock) -> None:
    for _ in range(3 * BURST):
        plans.explanation(ONE, "default", "digits")
    clock.now += 60
    plans.explanation(ONE, "default", "digits")


def test_a_pool_that_is_too_large_is_not_planned_here(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MOST_ENTRIES", 4 * len(SERVICES) - 1)
    with pytest.raises(RefusedError, match=r"factory.*20.*19"):
        plans.explanation(ONE, "default", "digits")


def test_a_service_of_a_forbidden_namespace_looks_as_if_it_did_not_exist(plans: Plans) -> None:
    said = []
    for name in ("faults", "absent"):
        with pytest.raises(HiddenError) as hidden:
            plans.explanation(ONE, "lab", name)
        said.append(str(hidden.value).replace(name, "NAME"))
        with pytest.raises(HiddenError):
            plans.what_if(ONE, "lab", name, b"{}")
    assert said[0] == said[1]


def test_an_explanation_names_no_service_of_a_forbidden_namespace(plans: Plans, clock: Clock) -> None:
    for key in SERVICES:
        if key.namespace == "default":
            clock.now += 60
            text = json.dumps([plans.explanation(ONE, *key), plans.what_if(ONE, *key, b'{"rate": 40}')])
            assert "lab/" not in text
            assert [name for name in ("faults", "gauges") if name in text] == []


def test_without_a_profile_the_sentence_says_what_is_awaited(
    planned: Any, clock: Clock, wall: Callable[[], datetime.datetime]
) -> None:
    from edge_operator.observed.mirror import Mirror

    mirror = Mirror()
    for body in planned.cluster.objects.values():
        if body["kind"] != MODEL_PROFILES.kind:
            mirror.put(body["kind"], body)
    found = Plans(Mirrored(mirror), lambda: INSTALLED, Times(clock, wall)).explanation(ALL, "lab", "faults")
    assert "not profiled yet" in found["problem"]


def test_settings_of_the_operator_that_cannot_be_read_are_reported(
    reads: Mirrored, clock: Clock, wall: Callable[[], datetime.datetime]
) -> None:
    def refused() -> Installed:
        raise PermissionDeniedError("listing deployments failed: forbidden")

    with pytest.raises(UnavailableError, match="deployments"):
        Plans(reads, refused, Times(clock, wall)).explanation(ALL, "lab", "faults")


def test_the_use_of_a_pool_names_its_users_and_sums_up_those_who_are_hidden(plans: Plans) -> None:
    everyone = {(each["resource"], each["place"]): each for each in plans.usage(ALL, "factory")["resources"]}
    sight = Sight("person", frozenset({"default"}), pools=True)
    some = {(each["resource"], each["place"]): each for each in plans.usage(sight, "factory")["resources"]}
    assert everyone.keys() == some.keys()
    cpu, hidden = everyone["Cpu", "gate"], some["Cpu", "gate"]
    assert {each["service"] for each in cpu["services"]} == {f"{k.namespace}/{k.name}" for k in SERVICES}
    assert {each["service"].partition("/")[0] for each in hidden["services"]} == {"default"}
    assert hidden["used"] == cpu["used"]
    own = sum(each["own"] for each in hidden["services"])
    assert hidden["others"] == pytest.approx(hidden["used"] - own, rel=1e-3)


def test_the_use_of_a_pool_is_for_those_who_may_list_pools(plans: Plans) -> None:
    with pytest.raises(HiddenError, match="factory"):
        plans.usage(ONE, "factory")


def test_a_pause_gives_a_viewer_no_more_than_a_burst(clock: Clock) -> None:
    limiter = Limiter(clock, rate=2.0, burst=3)
    clock.now = 1000.0
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(TooManyError):
        limiter.take("a")
    clock.now += 0.5
    limiter.take("a")
    clock.now += 1000
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(TooManyError):
        limiter.take("a")
