"""The condition Planned says what a service lacks, which limit binds and what would help."""

from typing import Any

from edge_api import reasons
from edge_operator.conditions import Blocked, Finding
from edge_operator.pool.demands import PooledPlan, plan_services
from edge_operator.pool.findings import planned_finding, without_routes
from edge_operator.pool.pooled import PooledService
from edge_operator.store_answers import CodecAccuracies
from messages import mentions
from pooled import members, pool, service

MI = 1 << 20
ACCURATE: dict[str, Any] = {"mode": "LocalOnly", "slo": {"latency": "1s", "minAccuracy": 0.9}}


def found(
    plan: PooledPlan, one: PooledService, accuracies: CodecAccuracies | None = None
) -> Finding | Blocked:
    return planned_finding(one.spec, plan.of(one.key), accuracies)


def test_a_service_with_room_is_planned() -> None:
    nodes = members(1, 0)
    one = service("digits", nodes, bandwidth=2e8)
    finding = found(plan_services(pool(nodes, one)), one)
    assert isinstance(finding, Finding)
    assert (finding.status, finding.reason) == ("True", reasons.PLANNED_AS_ASKED)


def test_codecs_that_are_being_measured_are_said() -> None:
    nodes = members(1, 0)
    incomplete = CodecAccuracies(complete=False, samples=0)
    one = service("digits", nodes, bandwidth=2e8, accuracies=incomplete)
    finding = found(plan_services(pool(nodes, one)), one, incomplete)
    assert finding.reason == reasons.MEASURING_CODECS


def test_an_slo_that_no_route_meets_is_said_with_the_nearest_one() -> None:
    nodes = members(2, 0)
    one = service("digits", nodes, mode="LocalOnly", slo={"latency": "90ms"})
    finding = found(plan_services(pool(nodes, one)), one)
    assert isinstance(finding, Finding)
    assert (finding.status, finding.reason) == ("True", reasons.SLO_OUT_OF_REACH)
    assert mentions('spec.slo.latency: "90ms"', "122ms", "also at cam-1").search(finding.message)


def test_a_service_that_no_node_can_serve_is_infeasible_even_in_an_empty_pool() -> None:
    nodes = members(1, 0)
    one = service("digits", nodes, mode="LocalOnly", slo={"latency": "90ms", "minAccuracy": 0.9})
    plan = plan_services(pool(nodes, one))
    finding = found(plan, one)
    assert isinstance(finding, Blocked)
    assert finding.reason == reasons.INFEASIBLE
    assert mentions('spec.slo.latency: "90ms"', "cam-0", "122ms").search(finding.message)
    assert list(without_routes(plan.of(one.key))) == ["cam-0"]


def test_a_service_that_does_not_fit_anywhere_is_blocked_by_what_binds() -> None:
    nodes = members(2, 0)
    first = service("first", nodes, load={"rate": 5.0}, priority=1, **ACCURATE)
    second = service("second", nodes, load={"rate": 5.0}, **ACCURATE)
    plan = plan_services(pool(nodes, first, second))
    finding = found(plan, second)
    assert isinstance(finding, Blocked)
    assert (finding.reason, finding.transient) == (reasons.DOES_NOT_FIT, False)
    assert mentions("cpu of cam-0", "60%", "40%", "first (60%)", "also at cam-1").search(finding.message)
    assert mentions("spec.load.rate to at most 3.33", "spec.priority above 1").search(finding.message)
    assert isinstance(found(plan, first), Finding)


def test_other_entry_nodes_keep_their_routes_if_one_has_no_room() -> None:
    nodes = members(2, 0)
    only = {"nodeSelector": {"kubernetes.io/hostname": "cam-0"}}
    first = service("first", nodes, load={"rate": 5.0}, priority=1, entryNodes=only, **ACCURATE)
    second = service("second", nodes, load={"rate": 5.0}, **ACCURATE)
    plan = plan_services(pool(nodes, first, second))
    finding = found(plan, second)
    assert isinstance(finding, Finding)
    assert (finding.status, finding.reason) == ("False", reasons.DOES_NOT_FIT)
    assert mentions("no route at cam-0", "the other entry nodes").search(finding.message)
    assert list(without_routes(plan.of(second.key))) == ["cam-0"]


def test_the_condition_says_that_a_service_has_less_than_it_would_have_alone() -> None:
    nodes = members(1, 0)
    slo = {"latency": "1s"}
    heavy = service("heavy", nodes, mode="LocalOnly", slo=slo, load={"rate": 5.0}, priority=9)
    light = service("light", nodes, privacy="Local", slo=slo, load={"rate": 5.0})
    plan = plan_services(pool(nodes, heavy, light))
    finding = found(plan, light)
    assert finding.reason == reasons.PLANNED_AS_ASKED
    assert mentions("cpu of cam-0", "60%", "40%", "heavy (60%)").search(finding.message)


def test_the_condition_of_a_late_service_names_those_that_make_it_late() -> None:
    nodes = members(1, 0)
    heavy = service("heavy", nodes, mode="LocalOnly", slo={"latency": "1s"}, load={"rate": 5.0}, priority=9)
    light = service("light", nodes, mode="LocalOnly", slo={"latency": "130ms"}, load={"rate": 0.1})
    finding = found(plan_services(pool(nodes, heavy, light)), light)
    assert isinstance(finding, Finding)
    assert (finding.status, finding.reason) == ("True", reasons.SLO_OUT_OF_REACH)
    assert mentions("requests are late at cam-0", "heavy (60%)").search(finding.message)


def test_the_memory_of_a_runtime_is_said_with_its_amount() -> None:
    nodes = members(1, 0, memory=300.0 * MI)
    one, other = service("a", nodes, priority=1), service("b", nodes, namespace="shop")
    plan = plan_services(pool(nodes, one, other, runtime_memory=192.0 * MI))
    finding = found(plan, other)
    assert isinstance(finding, Blocked)
    assert mentions("memory of cam-0: 192Mi needed", "108Mi of 300Mi left").search(finding.message)
