"""What a Tenant says of its part of the pools."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from edge_operator.cluster import TENANTS
from messages import mentions
from operator_objects import node_body, service_body

LAB = "lab-1"


def tenants(world: Any, **shop: Any) -> None:
    """A Tenant for the namespace of the service, and one for another namespace."""
    world.label_namespace()
    world.label_namespace("lab", LAB)
    world.put_tenant(**shop)
    world.put_tenant("lab")


def processors(world: Any, **capacities: tuple[str, str]) -> None:
    """Allocatable processors and all of them, by node."""
    for name, (allocatable, capacity) in capacities.items():
        body = node_body(name, "camera")
        body["status"] |= {"allocatable": {"cpu": allocatable}, "capacity": {"cpu": capacity}}
        world.cluster.put(body)


def services(world: Any, count: int, rate: float, namespace: str = LAB) -> None:
    """Local services at one camera node, 3 % to 12 % of its time for a request a second."""
    for number in range(count):
        spec = {
            "load": {"rate": rate},
            "mode": "RightSizingOnly",
            "slo": {"latency": "900ms"},
            "entryNodes": {"nodeSelector": {"kubernetes.io/hostname": "cam-1"}},
        }
        body = service_body(**spec)
        world.cluster.put(body | {"metadata": {"name": f"s{number}", "namespace": namespace}})


def report(world: Any) -> None:
    world.plan()
    world.report_tenants()


def condition(status: Any, kind: str) -> Any:
    return next(each for each in status["conditions"] if each["type"] == kind)


def use(status: Any, kind: str) -> dict[str, str]:
    (pool,) = status["pools"]
    return next(each for each in pool["resources"] if each["kind"] == kind)


def value(tenant: str, kind: str, amount: str) -> float | None:
    labels = {"tenant": tenant, "kind": kind, "amount": amount}
    return REGISTRY.get_sample_value("edge_operator_tenant_resources", labels)


def sample(name: str, **labels: str) -> Any:
    """The value of a metric of tenants; None without one."""
    return REGISTRY.get_sample_value(f"edge_operator_tenant_{name}", labels)


def test_a_tenant_says_what_it_is_entitled_to_and_what_it_uses(world: Any) -> None:
    world.change(load={"rate": 1.0})
    tenants(world, fairSharing={"weight": 3}, pools=[{"name": "factory", "nominalQuota": {"uplink": "30%"}}])
    report(world)
    status = world.tenant()
    assert status["namespaces"] == 1
    assert status["pools"][0]["name"] == "factory"
    assert status["pools"][0]["services"] == 1
    assert float(use(status, "cpu")["nominal"]) > 0
    assert status["share"].endswith("%")
    assert status["borrowed"] == "0%"
    for kind, reason in (("Ready", "NamespacesFound"), ("Active", "Placing"), ("Satisfied", "AllServed")):
        assert (condition(status, kind)["status"], condition(status, kind)["reason"]) == ("True", reason)


def test_a_tenant_without_services_has_no_pool_unless_it_has_a_quota_there(world: Any) -> None:
    tenants(world)
    report(world)
    assert world.tenant("lab")["pools"] == []
    quota = {"name": "factory", "nominalQuota": {"cpu": "30%"}}
    world.put_tenant("lab", pools=[quota])
    report(world)
    assert float(use(world.tenant("lab"), "cpu")["nominal"]) > 0


def test_services_at_a_lower_exit_are_counted_with_what_binds(world: Any) -> None:
    tenants(world)
    services(world, 6, 2.0)
    report(world)
    status = world.tenant("lab")
    assert status["steppedDown"] > 0
    satisfied = condition(status, "Satisfied")
    assert (satisfied["status"], satisfied["reason"]) == ("False", "SteppedDown")
    assert mentions("factory", status["steppedDown"], "at a lower exit", "cpu of cam-1").search(
        satisfied["message"]
    )
    assert ("Warning", "SteppedDown") in [each[:2] for each in world.cluster.events]
    assert condition(world.tenant(), "Satisfied")["reason"] == "AllServed"


def test_refused_services_are_counted_and_named_before_those_that_step_down(world: Any) -> None:
    tenants(world)
    services(world, 20, 3.0)
    report(world)
    status = world.tenant("lab")
    assert status["refused"] > 0
    assert condition(status, "Satisfied")["reason"] == "ServicesRefused"
    assert ("Warning", "ServicesRefused") in [each[:2] for each in world.cluster.events]


def test_a_refused_service_says_what_its_tenant_uses_and_what_would_make_room(world: Any) -> None:
    tenants(world)
    services(world, 20, 3.0)
    world.plan()
    (refused, *_) = [
        body
        for (kind, namespace, _), body in world.cluster.objects.items()
        if kind == "InferenceService"
        and namespace == LAB
        and any(each["reason"] == "DoesNotFit" for each in body["status"]["conditions"])
    ]
    message = next(c for c in refused["status"]["conditions"] if c["type"] == "Planned")["message"]
    assert mentions("cpu of cam-1", "tenant lab uses", "is entitled to").search(message)
    assert mentions("nominalQuota.cpu", "Tenant lab").search(message)


def test_an_owner_that_gets_back_what_it_had_lent_records_an_event(world: Any) -> None:
    world.change(mode="RightSizingOnly", load={"rate": 0.01})
    tenants(world, pools=[{"name": "factory"}])
    services(world, 5, 1.5)
    report(world)
    lent = world.tenant()
    assert float(use(lent, "cpu")["lent"]) > 0
    services(world, 3, 3.0, "default")
    report(world)
    back = world.tenant()
    assert float(use(back, "cpu")["lent"]) < float(use(lent, "cpu")["lent"])
    assert ("Normal", "Reclaimed") in [each[:2] for each in world.cluster.events]


def test_that_all_have_again_what_they_want_is_an_event(world: Any) -> None:
    tenants(world)
    services(world, 6, 2.0)
    report(world)
    for number in range(2, 6):
        world.cluster.objects.pop(("InferenceService", LAB, f"s{number}"))
    report(world)
    assert world.tenant("lab")["steppedDown"] == 0
    assert ("Normal", "AllServed") in [each[:2] for each in world.cluster.events]


def test_the_cores_of_a_node_count(world: Any) -> None:
    processors(world, **{"cam-1": ("3", "4"), "cam-2": ("4", "4"), "gate": ("8", "8")})
    quota = {"name": "factory", "nominalQuota": {"cpu": "2"}}
    tenants(world, pools=[quota])
    report(world)
    assert use(world.tenant(), "cpu")["nominal"] == "2"


def test_a_tenant_says_which_namespaces_belong_to_an_older_one(world: Any) -> None:
    world.label_namespace()
    world.put_tenant("shop", namespaceSelector={"matchLabels": {"team": "shop"}})
    world.put_tenant("zoo", namespaceSelector={"matchLabels": {"team": "shop"}})
    report(world)
    ready = condition(world.tenant("zoo"), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Overlapping")
    assert mentions("spec.namespaceSelector", "default", "Tenant shop").search(ready["message"])
    assert condition(world.tenant("shop"), "Ready")["reason"] == "NamespacesFound"


def test_a_tenant_that_selects_nothing_and_one_with_an_unknown_pool_say_so(world: Any) -> None:
    world.put_tenant("shop")
    world.label_namespace("lab", LAB)
    world.put_tenant("lab", pools=[{"name": "factry"}])
    report(world)
    assert condition(world.tenant("shop"), "Ready")["reason"] == "NoNamespaces"
    ready = condition(world.tenant("lab"), "Ready")
    assert ready["reason"] == "DevicePoolNotFound"
    assert mentions("spec.pools[0].name", '"factry"', "factory").search(ready["message"])


def test_a_tenant_that_cannot_be_read_says_why(world: Any) -> None:
    world.put_tenant("shop", fairSharing={"weight": "two"})
    report(world)
    ready = condition(world.tenant(), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Unreadable")
    assert mentions("spec.fairSharing.weight", '"two"').search(ready["message"])


@pytest.mark.parametrize(("policy", "reason"), [("Hold", "Held"), ("HoldAndDrain", "Drained")])
def test_a_stopped_tenant_is_not_active(world: Any, policy: str, reason: str) -> None:
    tenants(world, stopPolicy=policy)
    report(world)
    active = condition(world.tenant(), "Active")
    assert (active["status"], active["reason"]) == ("False", reason)


def test_a_status_is_written_once(world: Any) -> None:
    tenants(world)
    services(world, 6, 2.0)
    report(world)
    before = world.cluster.status_writes
    world.report_tenants()
    assert world.cluster.status_writes == before


def test_a_restarted_operator_keeps_the_status_of_pools_until_it_has_planned_them(world: Any) -> None:
    tenants(world)
    services(world, 6, 2.0)
    report(world)
    before, events = world.tenant("lab"), len(world.cluster.events)
    world.restart()
    world.report_tenants()
    assert world.tenant("lab")["pools"] == before["pools"]
    assert len(world.cluster.events) == events


def test_metrics_have_the_amounts_of_each_tenant_and_end_with_it(world: Any) -> None:
    tenants(world)
    services(world, 6, 2.0)
    report(world)
    assert value("lab", "cpu", "used") == pytest.approx(
        float(use(world.tenant("lab"), "cpu")["used"]), rel=0.01
    )
    assert value("lab", "uplink", "borrowed") == 0.0
    labels = {"tenant": "lab", "state": "stepped_down"}
    found = REGISTRY.get_sample_value("edge_operator_tenant_services", labels)
    assert found == world.tenant("lab")["steppedDown"]
    world.put_tenant("lab", fairSharing={"weight": 2})
    report(world)
    (shown,) = (status := world.tenant("lab"))["pools"]
    assert sample("weight", tenant="lab") == 2
    for amount, column in (("used", "share"), ("borrowed", "borrowed")):
        found = sample("share", tenant="lab", amount=amount)
        assert 100 * found == pytest.approx(float(status[column].rstrip("%")), rel=0.01)
    assert sample("weighted_share", tenant="lab") == pytest.approx(float(shown["weightedShare"]), rel=0.01)
    for name in ("lab", "shop"):
        world.cluster.delete(TENANTS, None, name)
    report(world)
    assert value("lab", "cpu", "used") is None
    assert sample("weight", tenant="lab") is sample("share", tenant="lab", amount="used") is None


def test_a_restarted_operator_publishes_the_same_tables(world: Any) -> None:
    tenants(world)
    services(world, 6, 2.0)
    services(world, 2, 3.0, "default")
    world.settle()
    before = [line for line in world.log if line.startswith("apply Placement")]
    world.restart()
    world.reconcile()
    assert [line for line in world.log if line.startswith("apply Placement")] == before


def test_the_first_tenant_moves_no_table_of_a_pool_with_room(world: Any) -> None:
    world.settle()
    before = [line for line in world.log if line.startswith("apply Placement")]
    tenants(world)
    world.reconcile()
    assert [line for line in world.log if line.startswith("apply Placement")] == before
